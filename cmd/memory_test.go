package main

import (
	"runtime/debug"
	"testing"
)

func TestTheHeapIsKeptSmallUnlessTheEnvironmentSaysOtherwise(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for gogc, want := range map[string]int{"": gcPercent, "100": 100} {
		debug.SetGCPercent(100)
		t.Setenv("GOGC", gogc)
		saveMemory()
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("GOGC=%q: %d percent, not %d", gogc, got, want)
		}
	}
}
