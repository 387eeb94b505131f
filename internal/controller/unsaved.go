package controller

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// unsavedAnswers are in memory only. More than none for more than a moment says that the API server cannot be written
// to.
var unsavedAnswers = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "mcp_connection_unsaved_answers",
	Help: "Answers of authorization servers that are not saved yet. They are lost if the operator is killed now.",
})

func init() { metrics.Registry.MustRegister(unsavedAnswers) }

// inFlight counts spends under way. Unlike a sync.WaitGroup it may be waited for again and again while others begin.
type inFlight struct {
	mu sync.Mutex
	n  int
	// over is closed when none is left; nil if nobody waits for that.
	over chan struct{}
}

func (f *inFlight) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *inFlight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.over != nil {
		close(f.over)
		f.over = nil
	}
}

// none is closed as soon as no spend is under way.
func (f *inFlight) none() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == nil {
		f.over = make(chan struct{})
	}
	over := f.over
	if f.n == 0 {
		close(over)
		f.over = nil
	}
	return over
}
