package imported

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// ends ends a context as ctrl-C does, when something is read.
type ends struct {
	io.Reader
	cancel context.CancelCauseFunc
}

func (e ends) Read(p []byte) (int, error) {
	e.cancel(&kube.SignalError{Signal: syscall.SIGINT})
	return e.Reader.Read(p)
}

func TestCtrlCWritesNothing(t *testing.T) {
	const complete = `{"refresh_token":"` + refreshToken + `","client_id":"c","issuer":"https://auth.example.test"}`
	never, held := io.Pipe()
	t.Cleanup(func() { _ = held.Close() })
	server := oauthtest.New(t)
	for name, stdin := range map[string]func(context.CancelCauseFunc) io.Reader{
		"Ctrl-C while the grant is awaited ends the wait": func(cancel context.CancelCauseFunc) io.Reader {
			return ends{never, cancel}
		},
		"Ctrl-C during discovery prints no manifest": func(cancel context.CancelCauseFunc) io.Reader {
			server.Handle(oauthtest.MCPPath, func(_ http.ResponseWriter, r *http.Request) {
				cancel(&kube.SignalError{Signal: syscall.SIGINT})
				<-r.Context().Done()
			})
			return strings.NewReader(complete)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var out bytes.Buffer
			streams := genericiooptions.IOStreams{In: stdin(cancel), Out: &out, ErrOut: io.Discard}
			if err := execute(ctx, t, streams, false, "files", server.MCPURL(), "--from=-"); kube.ExitCode(err) != 130 ||
				out.Len() != 0 {
				t.Errorf("%v, and %d bytes were written", err, out.Len())
			}
		})
	}
}
