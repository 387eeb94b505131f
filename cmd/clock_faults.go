//go:build faults

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"k8s.io/utils/clock"
)

// systemClock can be set by the file "clock" of test/faults.
var systemClock clock.PassiveClock = settableClock{}

// settableClock is the system's clock set forward or back by as many seconds as a file says.
type settableClock struct{}

// Now is the time on the clock that was set. As with a real one, what is measured by the monotonic clock does not
// notice.
func (settableClock) Now() time.Time { return setForward(time.Now(), offset()) }

// Since is by the monotonic clock.
func (settableClock) Since(t time.Time) time.Duration { return time.Since(t) }

func offset() int64 {
	text, err := os.ReadFile(filepath.Join(os.Getenv("MCP_CONNECTION_FAULTS"), "clock"))
	if err != nil {
		return 0
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return seconds
}

// setForward moves the wall clock reading of t and leaves its monotonic one, which no function of package time does:
// with a monotonic reading the first word holds the seconds above 30 bits of nanoseconds.
func setForward(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds << 30)
	return t
}

// Servers are told which process asks.
func init() { version += fmt.Sprintf(" process/%d", os.Getpid()) }
