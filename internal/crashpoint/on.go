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

// Hit kills this process, or stops it, if the point is armed. The first process that comes by takes the file
// that arms the point, and leaves one that ends with its process ID.
func Hit(p Point) {
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

// WithAfterSend returns a context whose request hits AfterSend when it has gone to the socket, before its
// answer is read.
func WithAfterSend(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				Hit(AfterSend)
			}
		},
	})
}
