//go:build faults

package crashpoint

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Reached ends this process, or stops it, if a file of the point's name says so. The first process to come by takes the
// file, and leaves its name in its place.
func Reached(p Point) {
	dir := os.Getenv("MCP_CONNECTION_FAULTS")
	if dir == "" {
		return
	}
	armed := filepath.Join(dir, string(p))
	fired := fmt.Sprintf("%s.%d", armed, os.Getpid())
	if os.Rename(armed, fired) != nil {
		return
	}
	signal := syscall.SIGKILL
	if text, err := os.ReadFile(fired); err == nil && strings.TrimSpace(string(text)) == "STOP" {
		signal = syscall.SIGSTOP
	}
	if err := syscall.Kill(os.Getpid(), signal); err != nil {
		panic(err)
	}
}

// WhenSent has Reached called once the request of ctx has gone to the socket, before its answer is read.
func WhenSent(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				Reached(AfterSend)
			}
		},
	})
}
