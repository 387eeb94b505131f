package main

import (
	"fmt"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mcp-connection/operator/internal/metrics"
)

// registerMetrics adds what the packages that do the work cannot export: the state of connections, and which program
// this is.
func (o *options) registerMetrics(mgr manager.Manager, registry prometheus.Registerer) error {
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_connection_build_info", Help: "1 for the version of the operator that runs, and of Go that it " +
			"was built with.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	objects := &metrics.Objects{
		Reader: mgr.GetCache(), Leading: func() bool { return elected(mgr) }, PerObject: o.metricsPerObject,
		Log: mgr.GetLogger().WithName("metrics"),
	}
	for _, c := range []prometheus.Collector{build, objects} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// elected reports whether this replica is the one that reconciles.
func elected(mgr manager.Manager) bool {
	select {
	case <-mgr.Elected():
		return true
	default:
		return false
	}
}
