//go:build faults

package main

import (
	"testing"
	"time"
)

func TestTheSetClockMovesTheWallClockOnly(t *testing.T) {
	before := time.Now()
	for _, seconds := range []int64{600, -600, 0} {
		after := setForward(before, seconds)
		if after.Unix() != before.Unix()+seconds || after.Sub(before) != 0 {
			t.Errorf("set forward by %d s, the wall clock moved by %d s and the monotonic one by %s", seconds,
				after.Unix()-before.Unix(), after.Sub(before))
		}
	}
}
