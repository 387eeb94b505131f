package callback

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/internal/credential"
)

// exchange is one HTTP request and its answer, with what the log may say of it. Tickets, states, codes and query
// strings are never logged.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	route  string
	status int
	// place is that of the connection it came over.
	place *place
	// connection that it is about, and its UID; empty if that is not known.
	connection Meta
	uid        types.UID
	// client is where the request came from, user whom an authenticating proxy names; empty if there is none.
	client netip.Addr
	user   string
}

// about notes which connection this is about.
func (x *exchange) about(v *visit) { x.connection, x.uid = v.meta, v.uid }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := s.route(r.URL.Path)
	x := &exchange{w: w, r: r, route: to.name, client: s.clientAddress(r), user: s.user(r), place: placeOf(r.Context())}
	x.place.busy()
	defer x.place.idle()
	s.protect(w.Header())
	s.countOrigin(x.client)
	err := s.admit(x, to)
	if err == nil {
		to.serve(x)
	} else {
		s.problem(x, err)
	}
	requests.WithLabelValues(x.route, strconv.Itoa(x.status)).Inc()
	level := 1
	// What strangers can bring about by their number is not for the log: it has metrics.
	if (x.status >= http.StatusInternalServerError && !errors.Is(err, errFull)) || x.status == http.StatusSeeOther {
		level = 0
	}
	s.o.Log.V(level).Info("request", "method", knownMethod(r.Method), "route", x.route, "status", x.status,
		"connection", x.connection.name(), "client", x.client.String())
}

// requests by route, which is a word of ours, and status code.
var requests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "mcp_connection_callback_requests_total",
	Help: "Requests to the callback port by route and status code.",
}, []string{"route", "code"})

func init() { metrics.Registry.MustRegister(requests) }

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

var (
	errLong = errors.New("the query is longer than any authorization response")
	errFull = errors.New("all connections are taken")
)

// admit says why a request is turned away before anybody looks into it; nil if it is not.
func (s *Server) admit(x *exchange, to route) error {
	if x.place.reserved() {
		// It serves one request. Were it kept, its next one might be for a page.
		x.w.Header().Set("Connection", "close")
		if !to.document {
			closedConnections.WithLabelValues(closedTurnedAway).Inc()
			return errFull
		}
	}
	if len(x.r.URL.RawQuery) > maxQuery {
		return errLong
	}
	limit := s.perAddress
	if to.document {
		limit = s.perReader
	}
	return limit.take(addressKey(x.client), s.o.Now())
}

// route is what a path leads to.
type route struct {
	name  string
	serve func(*exchange)
	// document says that authorization servers fetch it.
	document bool
}

// route finds the page by its exact path below the prefix; nothing is cleaned and nothing redirected.
func (s *Server) route(path string) route {
	path, ok := strings.CutPrefix(path, s.prefix)
	ticket, isConnect := strings.CutPrefix(path, credential.PathConnect)
	switch {
	case s.external == nil || !ok:
	case isConnect:
		return route{name: credential.PathConnect + "{ticket}", serve: func(x *exchange) { s.connect(x, ticket) }}
	case path == credential.PathCallback:
		return route{name: path, serve: s.callback}
	case path == credential.PathClientMetadata, path == credential.PathClientMetadataJWT:
		return route{name: path, document: true, serve: func(x *exchange) {
			s.clientMetadata(x, path == credential.PathClientMetadataJWT)
		}}
	case path == credential.PathJWKS:
		return route{name: path, document: true, serve: s.jwks}
	}
	return route{name: "other", serve: func(x *exchange) { s.render(x, notFoundPage()) }}
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

// prefetch reports whether nobody is looking yet.
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
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
		return method
	}
	return "other"
}
