package main

import (
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/mcp-connection/operator/internal/controller"
)

// envPodUID tells the UID of the pod that this process runs in (the manifests set it).
const envPodUID = "POD_UID"

// holder names this process in claims: first its pod, within which the process before it is dead, or else its host.
func holder() string {
	place := os.Getenv(envPodUID)
	if place == "" {
		var err error
		if place, err = os.Hostname(); err != nil {
			place = "unknown"
		}
	}
	return place + "/" + string(uuid.NewUUID())
}

// drainNotice is how often it is said what a stopped process waits for.
const drainNotice = 10 * time.Second

// drain waits until the answers of authorization servers are saved, however long the API server cannot be written to:
// with this process they would be lost. The manager's probes have ended, so it says itself that the process is well,
// lest the kubelet end it.
func drain(r *controller.Reconciler, probeAddress string, log logr.Logger) {
	if r.Drain(0) {
		return
	}
	probes := &http.Server{Addr: probeAddress, Handler: alive(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = probes.ListenAndServe() }() // without probes it waits as well
	for !r.Drain(drainNotice) {
		log.Info("stopped, but the answer of an authorization server is not saved yet")
	}
	_ = probes.Close()
}

// alive answers the liveness probe, and is not ready.
func alive() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	return mux
}
