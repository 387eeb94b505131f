package callback

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed pages
var files embed.FS

var (
	style     = template.CSS(strings.TrimSpace(readPage("style.css"))) // #nosec G203 -- our own file
	styleHash = hashSource(string(style))
	layout    = template.Must(template.ParseFS(files, "pages/*.html"))
)

func readPage(name string) string {
	content, err := files.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // not embedded: cannot happen in a program that was built
	}
	return string(content)
}

// hashSource is a CSP hash-source (Content Security Policy Level 3, section 2.3.1).
func hashSource(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Values of form-action. Chromium applies it to every redirect that follows a form, and an authorization server may
// send a person on to a sign-in page at any origin: naming its own origin would break single sign-on.
const (
	formNone  = "'none'"
	formHTTPS = "'self' https:"
	// formHTTP is for authorization servers on http, which the operator must have been told to allow.
	formHTTP = "'self' https: http:"
)

func contentSecurityPolicy(styleSource, formAction string) string {
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action " + formAction
	if styleSource != "" {
		policy += "; style-src " + styleSource
	}
	return policy
}

// retryAfter, in seconds, is when to look again while the API server cannot be reached.
const retryAfter = 5

// page is one answer in HTML. Nothing in it comes from the request, except the name of a user whom a trusted proxy
// vouches for.
type page struct {
	status int
	title  string
	text   string
	// tone colours the mark beside the title: good, bad, busy or empty.
	tone string
	// detail is a stranger's text, sanitised; template escapes it.
	detail string
	// code is a command to copy.
	code string
	// refresh is the number of seconds after which the page loads again; 0: never.
	refresh int
	// consent is shown on start pages and outcomes.
	consent *consent
	// formAction is one of the values above; empty: no form.
	formAction string
}

// model is what the template sees.
type model struct {
	Style   template.CSS
	Title   string
	Text    string
	Tone    string
	Detail  string
	Code    string
	Refresh int
	Consent *consent
	Form    bool
}

// render writes a page.
func (s *Server) render(x *exchange, p page) {
	var body bytes.Buffer
	err := layout.ExecuteTemplate(&body, "layout.html", model{
		Style: style, Title: p.title, Text: p.text, Tone: p.tone, Detail: p.detail, Code: p.code,
		Refresh: p.refresh, Consent: p.consent, Form: p.formAction != "",
	})
	if err != nil {
		s.o.Log.Error(err, "rendering a page")
		s.write(x, http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("internal error\n"))
		return
	}
	if p.formAction == "" {
		p.formAction = formNone
	}
	x.w.Header().Set("Content-Security-Policy", contentSecurityPolicy(styleHash, p.formAction))
	s.write(x, p.status, "text/html; charset=utf-8", body.Bytes())
}

func (s *Server) write(x *exchange, status int, contentType string, body []byte) {
	x.status = status
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError && !s.proxy(peer(x.r)) {
		// Who asks for what there is not need not keep a connection. Those of our proxies are not the visitors'.
		x.w.Header().Set("Connection", "close")
	}
	x.place.idle() // from here on it waits for the client to read
	x.w.Header().Set("Content-Type", contentType)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	// The browser is gone if this fails.
	_, _ = x.w.Write(body)
}

// notFoundPage says the same for whatever is unknown, so that nothing can be learned from it.
func notFoundPage() page {
	return page{
		status: http.StatusNotFound, title: "Nothing here",
		text: "This address is not known. If you followed a link to a connection, check that all of it was copied.",
	}
}

// problem answers for what is wrong with every page alike.
func (s *Server) problem(x *exchange, err error) {
	var crowd tooMany
	var denied notPermitted
	switch {
	case errors.As(err, &crowd):
		x.w.Header().Set("Retry-After", strconv.Itoa(crowd.seconds()))
		s.render(x, page{
			status: http.StatusTooManyRequests, title: "One moment", tone: "busy", refresh: crowd.seconds(),
			text: "There were too many requests. Nothing is lost: this page tries again by itself.",
		})
	case errors.Is(err, errFull):
		x.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		s.render(x, page{
			status: http.StatusServiceUnavailable, title: "One moment", tone: "busy", refresh: retryAfter,
			text: "Too many people are here just now. Nothing is lost: this page tries again by itself.",
		})
	case errors.Is(err, errLong):
		s.render(x, page{
			status: http.StatusRequestURITooLong, title: "This address is too long",
			text: "Nothing that belongs here is that long. Nothing was changed. Open the link to the connection again.",
		})
	case errors.Is(err, errNoUser):
		s.render(x, noUserPage())
	case errors.As(err, &denied):
		s.render(x, notPermittedPage(denied.meta))
	case errors.Is(err, errSuspended):
		s.render(x, page{
			status: http.StatusConflict, title: "The connection is suspended",
			text: "Its owner has paused it (spec.suspend), so no consent is taken and nothing was changed. Open the link " +
				"again once it runs.",
		})
	case errors.Is(err, errUnavailable):
		s.o.Log.Error(err, "a page could not be served", "route", x.route)
		x.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		s.render(x, page{
			status: http.StatusServiceUnavailable, title: "One moment", tone: "busy", refresh: retryAfter,
			text: "The cluster does not answer just now. Nothing is lost: this page tries again by itself.",
		})
	default:
		s.o.Log.Error(err, "a page could not be served", "route", x.route)
		s.render(x, page{
			status: http.StatusInternalServerError, title: "This does not work just now", tone: "bad",
			text: "Something is wrong that only whoever runs the operator can mend. Its log says what.",
		})
	}
}
