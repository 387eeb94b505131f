package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

// TestNoLogLevelShowsWhatClientGoSends: from level 6 on client-go logs requests, and from 8 on their bodies, by the
// logger in the context.
func TestNoLogLevelShowsWhatClientGoSends(t *testing.T) {
	for level, most := range map[string]int{"debug": 1, "info": 0, "error": -1} {
		for _, format := range []string{"json", "console"} {
			log := (&options{logLevel: level, logFormat: format}).logger()
			for v := range 100 {
				if on := log.V(v).Enabled(); on != (v <= most) {
					t.Errorf("--log-level=%s --log-format=%s: V(%d) is on: %t", level, format, v, on)
				}
			}
		}
	}
}

func TestThereIsNoProfile(t *testing.T) {
	o, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := o.managerOptions(logr.Discard()); m.PprofBindAddress != "" || len(m.Metrics.ExtraHandlers) != 0 {
		t.Errorf("profiles are served at %q, and metrics with %d other pages", m.PprofBindAddress,
			len(m.Metrics.ExtraHandlers))
	}
}

// TestMetricsAreForWhoProvesTheRight: nobody else gets through to them, least of all while the API server cannot be
// asked.
func TestMetricsAreForWhoProvesTheRight(t *testing.T) {
	o, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics := o.managerOptions(logr.Discard()).Metrics
	if !metrics.SecureServing {
		t.Error("they are served without TLS")
	}
	filter, err := metrics.FilterProvider(&rest.Config{Host: "http://127.0.0.1:1"}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := filter(logr.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("somebody got through")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]int{"": http.StatusUnauthorized,
		"Bearer stolen": http.StatusInternalServerError} {
		r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", header)
		if handler.ServeHTTP(w, r); w.Code != want {
			t.Errorf("with %q: %d, want %d", header, w.Code, want)
		}
	}
}
