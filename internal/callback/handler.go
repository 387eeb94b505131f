package callback

import (
	"net/http"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/credential"
)

// exchange is one HTTP request and its answer, with what the log may say of it. Tickets, states, codes and query
// strings are never logged.
type exchange struct {
	w          http.ResponseWriter
	r          *http.Request
	route      string
	status     int
	connection string
	uid        types.UID
	// client is where the request came from, user whom an authenticating proxy names; empty if there is none.
	client netip.Addr
	user   string
}

// about notes which connection this is about.
func (x *exchange) about(v *visit) { x.connection, x.uid = v.name(), v.uid }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{w: w, r: r, route: "other", client: s.clientAddress(r), user: s.user(r)}
	s.protect(w.Header())
	if s.admit(x) {
		s.dispatch(x)
	}
	level := 1
	if x.status >= http.StatusInternalServerError || x.status == http.StatusSeeOther {
		level = 0
	}
	s.o.Log.V(level).Info("request", "method", knownMethod(r.Method), "route", x.route, "status", x.status,
		"connection", x.connection, "client", x.client.String())
}

// protect sets the headers of every answer. Pages widen the content security policy for their style and form.
func (s *Server) protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", contentSecurityPolicy("", formNone))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if s.secure() {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// admit turns away what is too much: a query longer than any authorization response, or too many requests of one address.
func (s *Server) admit(x *exchange) bool {
	if len(x.r.URL.RawQuery) > maxQuery {
		s.render(x, page{
			status: http.StatusRequestURITooLong, title: "This address is too long",
			text: "Nothing that belongs here is that long. Nothing was changed. Open the link to the connection again.",
		})
		return false
	}
	if err := s.perAddress.take(addressKey(x.client), s.o.Now()); err != nil {
		s.problem(x, err)
		return false
	}
	return true
}

// dispatch finds the page by its exact path below the prefix; nothing is cleaned and nothing redirected.
func (s *Server) dispatch(x *exchange) {
	path, ok := strings.CutPrefix(x.r.URL.Path, s.prefix)
	ticket, isConnect := strings.CutPrefix(path, credential.PathConnect)
	switch {
	case s.external == nil || !ok:
		s.render(x, notFoundPage())
	case isConnect:
		x.route = credential.PathConnect + "{ticket}"
		s.connect(x, ticket)
	case path == credential.PathCallback:
		x.route = path
		s.callback(x)
	case path == credential.PathClientMetadata, path == credential.PathClientMetadataJWT:
		x.route = path
		s.clientMetadata(x, path == credential.PathClientMetadataJWT)
	case path == credential.PathJWKS:
		x.route = path
		s.jwks(x)
	default:
		s.render(x, notFoundPage())
	}
}

// allow answers 405 and returns false for a method that is not among those named.
func (s *Server) allow(x *exchange, methods ...string) bool {
	for _, m := range methods {
		if x.r.Method == m {
			return true
		}
	}
	x.w.Header().Set("Allow", strings.Join(methods, ", "))
	s.render(x, page{
		status: http.StatusMethodNotAllowed, title: "That does not work here",
		text: "This address does not accept requests of this kind.",
	})
	return false
}

// redirect sends the browser on; the answer to it is always a GET.
func (x *exchange) redirect(location string) {
	x.status = http.StatusSeeOther
	x.w.Header().Set("Location", location)
	x.w.WriteHeader(x.status)
}

// prefetch says whether nobody is looking yet.
func prefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		value := strings.ToLower(r.Header.Get(name))
		if strings.Contains(value, "prefetch") || strings.Contains(value, "preview") || strings.Contains(value, "prerender") {
			return true
		}
	}
	return false
}

// knownMethod keeps inventions of strangers out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
