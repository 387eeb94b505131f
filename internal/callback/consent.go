package callback

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

const (
	maxShown       = 200
	maxShownScopes = 64
	maxScope       = 100
	pendingRefresh = 2
)

// consent is what a person is asked for, made fit for a page.
type consent struct {
	Namespace string
	Name      string
	Server    string
	Issuer    string
	// Host is where the form leads.
	Host   string
	Scopes []string
	// More counts the scopes that are not shown.
	More int
	// User is the person signed in, if somebody says who that is.
	User string
	// Open says that the form may be shown.
	Open  bool
	Until string
}

func describe(meta Meta, offer *credential.Offer, user string) *consent {
	c := &consent{Namespace: meta.Namespace, Name: meta.Name, User: user}
	if offer == nil {
		return c
	}
	b := offer.Binding
	c.Open = true
	c.Server, c.Issuer, c.Host = showURL(b.ServerURL), showURL(b.Issuer), showHost(b.AuthorizationEndpoint)
	c.Until = offer.ExpiresAt.UTC().Format("2 January 2006, 15:04 UTC")
	for i, scope := range b.Scopes {
		if i == maxShownScopes {
			c.More = len(b.Scopes) - i
			break
		}
		c.Scopes = append(c.Scopes, mcpoauth.Sanitize(scope, maxScope))
	}
	return c
}

// consentPage shows what one browser may see of a ticket.
func (s *Server) consentPage(v *visit, seen view, user string) page {
	meta := v.meta
	p := page{status: http.StatusOK, consent: describe(meta, seen.offer, user)}
	if seen.offer != nil {
		p.formAction = formActionFor(seen.offer.Binding.AuthorizationEndpoint)
	}
	name := meta.name()
	switch seen.state {
	case viewOpen:
		p.title = "Connect " + name
		p.text = "A connection in your Kubernetes cluster asks for access to an MCP server on your behalf."
	case viewPending:
		p.title, p.tone, p.refresh = "Connecting "+name, "busy", pendingRefresh
		p.text = "Your consent has arrived. The operator is fetching the token; this page updates by itself."
	case viewSucceeded:
		s.successPage(&p, v, seen)
	case viewFailed:
		p.title, p.tone = name+" is not connected", "bad"
		p.text = sentence(seen.outcome.Reason)
		if seen.outcome.Reason != v1alpha1.ReasonIssuerParameterMismatch {
			p.detail = mcpoauth.Sanitize(seen.outcome.Message, maxMessage)
		}
		if seen.offer == nil {
			p.status = http.StatusGone
			p.text += " This link has ended; if consent is still needed, this shows a new one to whoever may read " +
				"the connection:"
			p.code = linkCommand(meta)
		}
	}
	return p
}

// sentence says in a person's words what a reason means.
func sentence(reason string) string {
	return cmp.Or(reasons.Page(reason), "The sign-in could not be completed.")
}

// formActionFor lets the form's redirect reach the authorization server, by http only if it is there.
func formActionFor(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Scheme == "http" {
		return formHTTP
	}
	return formHTTPS
}

// showURL is a URL for a person's eyes: in ASCII, so that no letter passes for another, and without a query, which may
// hold a secret.
func showURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	shown := u.Scheme + "://" + hostOf(u)
	if path := u.EscapedPath(); path != "/" {
		shown += path
	}
	return mcpoauth.Sanitize(shown, maxShown)
}

func showHost(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	return mcpoauth.Sanitize(hostOf(u), maxShown)
}

func hostOf(u *url.URL) string {
	host := u.Hostname()
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	} else {
		quoted := strconv.QuoteToASCII(host)
		host = quoted[1 : len(quoted)-1]
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	return host
}
