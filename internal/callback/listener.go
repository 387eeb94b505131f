package callback

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Connections at once, all replicas for themselves.
const (
	// maxConnections bounds the memory that connections may take from the reconciler: the header's size each.
	maxConnections = 1024
	// reservedConnections of them are for documents. Without these no authorization server knows the operator as its
	// client, so that refreshes fail which need no browser at all. Each serves one request, and servers keep what they
	// fetch.
	reservedConnections = 64
	// publicConnections is ten times what a browser opens, and takes fifteen strangers to fill the port.
	publicConnections = 64
	// sharedConnections leaves room beside an ingress through which everybody seems to come.
	sharedConnections = 512
)

// Why a connection was closed.
const (
	closedDisplaced = "displaced"
	closedRefused   = "refused"
	// closedTurnedAway is a connection of the reserve that asked for no document.
	closedTurnedAway = "turned_away"
)

// closedConnections of clients that did nothing wrong, one by one.
var closedConnections = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "mcp_connection_callback_connections_closed_total",
	Help: "Connections to the callback port that were closed for want of room: displaced, while idle, by a newer one; " +
		"refused; or turned_away, after a 503, because what was left is for documents.",
}, []string{"why"})

func init() {
	metrics.Registry.MustRegister(closedConnections)
	for _, why := range []string{closedDisplaced, closedRefused, closedTurnedAway} {
		closedConnections.WithLabelValues(why).Add(0)
	}
}

// gate is a listener that hands over the connections that have a place and closes the others. None waits to be
// accepted, or a document could not be asked for while pages take every place.
type gate struct {
	net.Listener
	places *places
	// now is the machine's clock, by which deadlines of sockets pass.
	now func() time.Time
}

// Accept waits for the next connection that has a place.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := remoteAddress(conn.RemoteAddr().String())
		taken, displaced := g.places.take(from, conn)
		if displaced != nil {
			closedConnections.WithLabelValues(closedDisplaced).Inc()
			_ = displaced.Close() // its server finds out by itself
		}
		if taken != nil {
			return &guest{Conn: conn, place: taken, public: !g.places.sharedBy(from), now: g.now}, nil
		}
		closedConnections.WithLabelValues(closedRefused).Inc()
		_ = conn.Close() // nobody has spoken yet
	}
}

// guest is a connection that has a place until it is closed.
type guest struct {
	net.Conn
	place *place
	// public says that it comes from an address of the internet.
	public bool
	now    func() time.Time
}

// SetReadDeadline is called by net/http with each of its time-outs; those of the header and the body are shorter than
// this limit. None is left alone: a request is served then.
func (g *guest) SetReadDeadline(at time.Time) error {
	if limit := g.now().Add(publicIdleTimeout); g.public && at.After(limit) {
		at = limit
	}
	return g.Conn.SetReadDeadline(at)
}

// Close gives the place back too.
func (g *guest) Close() error {
	g.place.leave()
	return g.Conn.Close()
}

type placeKey struct{}

// withPlace lets requests know the place of their connection.
func withPlace(ctx context.Context, conn net.Conn) context.Context {
	if g, ok := conn.(*guest); ok {
		return context.WithValue(ctx, placeKey{}, g.place)
	}
	return ctx
}

// placeOf is nil for a request that came over no connection of ours.
func placeOf(ctx context.Context) *place {
	p, _ := ctx.Value(placeKey{}).(*place)
	return p
}

// carriers are addresses for carrier-grade NAT (RFC 6598), which clusters use for pods and nodes.
var carriers = netip.MustParsePrefix("100.64.0.0/10")

// shared says that many people may stand behind an address: it is a proxy of ours, or of a network inside (RFC 1918,
// RFC 4193, RFC 6598, loopback, link-local), where an ingress is that nobody named.
func (s *Server) shared(address netip.Addr) bool {
	return address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || carriers.Contains(address) ||
		s.proxy(address)
}
