package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is by how much the heap may grow between two collections, in percent of what is alive. The caches live as
// long as the process, and little else does: the default of 100 would keep as much again free. GOGC has the last word.
const gcPercent = 25

func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
