package imported

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
		"Ctrl-C while the grant is awaited ends the wait": func(cancel context.CancelCauseFunc) io.Reader { return ends{never, cancel} },
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
			f := kube.NewFactory(genericiooptions.IOStreams{In: stdin(cancel), Out: &out, ErrOut: io.Discard})
			f.Flags.Namespace = new("team-a")
			f.Flags.KubeConfig = new(filepath.Join(t.TempDir(), "config"))
			if err := os.WriteFile(*f.Flags.KubeConfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := Command(f)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs([]string{"files", server.MCPURL(), "--from=-", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"})
			if err := cmd.ExecuteContext(ctx); kube.ExitCode(err) != 130 || out.Len() != 0 {
				t.Errorf("%v, and %d bytes were written", err, out.Len())
			}
		})
	}
}
