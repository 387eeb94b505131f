package main

import (
	"testing"

	"github.com/go-logr/logr"
)

// TestNoLogLevelShowsWhatClientGoSends: from level 6 on client-go logs requests, and from 8 on their bodies, by the logger
// in the context.
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
		t.Errorf("profiles are served at %q, and metrics with %d other pages", m.PprofBindAddress, len(m.Metrics.ExtraHandlers))
	}
}
