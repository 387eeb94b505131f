package doctor

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

func TestCtrlCWritesNoReport(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	server := oauthtest.New(t)
	server.Handle(oauthtest.MCPPath, func(_ http.ResponseWriter, r *http.Request) {
		cancel(&kube.SignalError{Signal: syscall.SIGINT})
		<-r.Context().Done()
	})
	var out bytes.Buffer
	cmd := Command(kube.NewFactory(genericiooptions.IOStreams{Out: &out, ErrOut: io.Discard}))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{server.MCPURL(), "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"})
	if err := cmd.ExecuteContext(ctx); kube.ExitCode(err) != 130 || out.Len() != 0 {
		t.Errorf("%v, and this was written: %s", err, out.String())
	}
}
