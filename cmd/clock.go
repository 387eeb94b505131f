//go:build !faults

package main

import "k8s.io/utils/clock"

// systemClock is the time of everything that asks for it.
var systemClock clock.PassiveClock = clock.RealClock{}
