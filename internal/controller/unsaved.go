package controller

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/internal/credential"
)

// unsavedAnswers are in memory only. More than none for more than a moment says that the API server cannot be written to.
var unsavedAnswers = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "mcp_connection_unsaved_answers",
	Help: "Answers of authorization servers that are not saved yet. They are lost if the operator is killed now.",
})

func init() { metrics.Registry.MustRegister(unsavedAnswers) }

// saveAnswer is Store.Save for what a server answered to a spend.
func (r *Reconciler) saveAnswer(ctx context.Context, held *credential.Held, mutate func(*credential.Credential) error) (*credential.Held, error) {
	unsavedAnswers.Inc()
	defer unsavedAnswers.Dec()
	return r.Store.Save(ctx, held, mutate)
}
