package callback

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Limits of the server. The write time-out leaves room for outcomeWait and the reads around it.
const (
	// readHeaderTimeout is from the first byte, and for a new connection from its beginning: a header is one packet, or a
	// few.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 40 * time.Second
	// idleTimeout is longer than ingresses keep connections for (a minute or a little more): an ingress that sends a
	// request over one which is closed at that moment answers 502 to a person.
	idleTimeout = 5 * time.Minute
	// publicIdleTimeout is that of a browser. It is a few times what a busy page takes to load itself again
	// (pendingRefresh, retryAfter), so that it does so over the same connection. A person who reads for longer makes a new
	// one.
	publicIdleTimeout = 15 * time.Second
	shutdownTimeout   = 20 * time.Second
	maxHeaderBytes    = 32 << 10
	maxWaiting        = 256
	maxStoreCalls     = 32
)

// Options of a Server.
type Options struct {
	// BindAddress to listen on, such as :8082.
	BindAddress string
	// ExternalURL under which browsers reach the server: https, or http on loopback; a path prefix is honoured.
	// While it is empty every page is 404.
	ExternalURL string
	// Store of the credential Secrets. Its client must read live.
	Store *credential.Store
	// Secrets finds out from cached metadata whether there is a credential Secret, Live from the API server: a link may be
	// shown before the cache has heard of its Secret.
	Secrets, Live Lookup
	// Connections reads MCPConnections; a cache will do.
	Connections client.Reader
	// Now is the clock, MachineNow the machine's, by which deadlines of sockets pass whatever Now says.
	Now, MachineNow func() time.Time
	Log             logr.Logger
	// Audit log: who did what about which consent.
	Audit logr.Logger
	// UserHeader in which an authenticating proxy names the person; empty if there is no such proxy. It is believed only
	// in requests from UserProxies.
	UserHeader  string
	UserProxies []netip.Prefix
	// TrustedProxies, and UserProxies, are believed in what they say of addresses (X-Forwarded-For).
	TrustedProxies []netip.Prefix
	// Access decides who may consent; required with UserHeader.
	Access Access
	// ClientName and Version go into the client metadata document.
	ClientName string
	Version    string
}

// Server serves the pages.
type Server struct {
	o        Options
	external *url.URL // nil: no external URL
	prefix   string
	crossing *http.CrossOriginProtection
	waiting  chan struct{} // one place for each page that waits for an outcome
	calls    chan struct{} // one place for each call to the API server
	stopping chan struct{}
	keys     publicKeys

	places  *places
	origins origins

	perAddress, perConnection, perReader *limits
	// unknown tickets are looked up live so often, whoever brings them.
	unknown *rate.Limiter
}

var (
	_ manager.Runnable               = (*Server)(nil)
	_ manager.LeaderElectionRunnable = (*Server)(nil)
	_ http.Handler                   = (*Server)(nil)
)

// New checks the options and makes a server.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.Secrets == nil || o.Live == nil || o.Connections == nil || o.Now == nil || o.MachineNow == nil {
		return nil, errors.New("callback: Store, Secrets, Live, Connections, Now and MachineNow are required")
	}
	if o.UserHeader != "" && (len(o.UserProxies) == 0 || o.Access == nil) {
		return nil, errors.New("callback: UserHeader wants UserProxies and Access")
	}
	s := &Server{
		o:        o,
		crossing: http.NewCrossOriginProtection(),
		waiting:  make(chan struct{}, maxWaiting),
		calls:    make(chan struct{}, maxStoreCalls),
		stopping: make(chan struct{}),

		perAddress:    newLimits(addressRate, addressBurst),
		perConnection: newLimits(connectionRate, connectionBurst),
		perReader:     newLimits(readerRate, readerBurst),
		unknown:       rate.NewLimiter(unknownRate, unknownBurst),
	}
	s.places = newPlaces(capacity{
		pages: maxConnections - reservedConnections, documents: reservedConnections, public: publicConnections,
		shared: sharedConnections,
	}, s.shared)
	if o.ExternalURL == "" {
		return s, nil
	}
	u, err := parseExternalURL(o.ExternalURL)
	if err != nil {
		return nil, err
	}
	s.external, s.prefix = u, strings.TrimRight(u.Path, "/")
	// A proxy may change the Host header, by which browsers without Sec-Fetch-Site would be judged.
	if err := s.crossing.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, fmt.Errorf("the external URL has no usable origin: %w", err)
	}
	return s, nil
}

// CheckExternalURL says in one line why browsers could not be sent to a URL; nil if they could, or if it is empty.
func CheckExternalURL(raw string) error {
	if raw == "" {
		return nil
	}
	_, err := parseExternalURL(raw)
	return err
}

// OnLoopback reports whether browsers find a URL on the machine that they run on: whoever follows it has forwarded a
// port.
func OnLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return mcpoauth.IsLoopback(host) || strings.HasSuffix(host, ".localhost") // RFC 6761, section 6.3
}

// parseExternalURL refuses what browsers could not be sent back to. Its errors are one line for a person.
func parseExternalURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("the external URL is not a valid URL")
	case u.Hostname() == "":
		return nil, errors.New("the external URL has no host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		return nil, errors.New("the external URL must have no user name, query or fragment")
	case u.Path != u.EscapedPath() || strings.Contains(u.Path, "//"):
		return nil, errors.New("the external URL must have a plain path, such as /mcp, or none")
	case u.Scheme == "https", u.Scheme == "http" && mcpoauth.IsLoopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("the external URL must be https (http is for loopback only)")
}

// secure reports whether browsers reach the server by https.
func (s *Server) secure() bool { return s.external != nil && s.external.Scheme == "https" }

// NeedLeaderElection is false: every replica serves the pages.
func (s *Server) NeedLeaderElection() bool { return false }

// Start listens and serves until ctx ends; then pages that wait answer at once and the others may finish.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.o.BindAddress)
	if err != nil {
		return fmt.Errorf("listening for callbacks: %w", err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       withPlace,
		ErrorLog:          log.New(lineWriter{s.o.Log}, "", 0),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		close(s.stopping)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	s.o.Log.Info("serving callbacks", "address", listener.Addr().String())
	if err := server.Serve(gate{listener, s.places, s.o.MachineNow}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving callbacks: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stopping the callback server: %w", err)
	}
	return nil
}

// lineWriter turns lines of net/http into log entries.
type lineWriter struct{ log logr.Logger }

func (w lineWriter) Write(line []byte) (int, error) {
	// Only the first line: the rest of a panic is a stack.
	first, _, _ := strings.Cut(strings.TrimSpace(string(line)), "\n")
	w.log.V(1).Info("http server", "message", first)
	return len(line), nil
}
