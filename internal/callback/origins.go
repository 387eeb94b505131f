package callback

import (
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

const (
	// originWindow is how many requests are looked at together: more than a person makes who consents to a handful of
	// connections.
	originWindow = 1000
	// nearlyAll requests of a window come from one address if they are this share of it.
	nearlyAll = 0.95
)

var largestClient = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "mcp_connection_callback_largest_client_ratio",
	Help: "Share of the client address with the most requests to the callback port, among the last 1000 counted. Near 1 " +
		"it is probably an ingress that --trusted-proxy-cidrs does not name.",
})

func init() { metrics.Registry.MustRegister(largestClient) }

// origins counts requests by address, a window at a time: its size is what they may cost.
type origins struct {
	mu     sync.Mutex
	counts map[string]int
	total  int
	said   bool
}

// count notes a request. With the last one of a window it returns which address made most of them, and its share from 0
// to 1.
func (o *origins) count(key string) (largest string, share float64, complete bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]int{}
	}
	o.counts[key]++
	if o.total++; o.total < originWindow {
		return "", 0, false
	}
	most := 0
	for k, n := range o.counts {
		if n > most {
			largest, most = k, n
		}
	}
	o.counts, o.total = nil, 0
	return largest, float64(most) / originWindow, true
}

// first is true once.
func (o *origins) first() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	said := o.said
	o.said = true
	return !said
}

// countOrigin says once that everybody looks like one client. Nothing is lifted: it may be one stranger after all.
func (s *Server) countOrigin(client netip.Addr) {
	largest, share, complete := s.origins.count(addressKey(client))
	if !complete {
		return
	}
	largestClient.Set(share)
	if share >= nearlyAll && s.origins.first() {
		s.o.Log.Info("nearly all requests come from one address and so share the limits of one client; if it is an ingress "+
			"or a load balancer, name it in --trusted-proxy-cidrs",
			"client", largest)
	}
}
