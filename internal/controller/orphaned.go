package controller

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// What became of the connection of an orphaned credential.
const (
	stateGone     = "gone"
	stateReplaced = "replaced"
)

// orphanedCredentials are waiting for their connection to come back.
var orphanedCredentials = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "mcp_connection_orphaned_credentials",
	Help: "Credential Secrets whose connection is gone, or replaced by an object of the same name and another UID.",
}, []string{"connection"})

func init() {
	metrics.Registry.MustRegister(orphanedCredentials)
	for _, state := range []string{stateGone, stateReplaced} {
		orphanedCredentials.WithLabelValues(state).Set(0)
	}
}

// orphanCount counts credential Secrets by what became of their connections.
type orphanCount struct {
	mu     sync.Mutex
	states map[string]string
}

// count notes the state of a credential Secret; empty if it is no orphan.
func (c *orphanCount) count(secret, state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states == nil {
		c.states = map[string]string{}
	}
	if before := c.states[secret]; before != "" {
		orphanedCredentials.WithLabelValues(before).Dec()
	}
	delete(c.states, secret)
	if state != "" {
		c.states[secret] = state
		orphanedCredentials.WithLabelValues(state).Inc()
	}
}
