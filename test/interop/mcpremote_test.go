package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/test/harness"
)

// TestImportFromMCPRemote has npm mcp-remote sign in and keep its grant as it does; kubectl mcpc import hands that to
// the operator, which goes on with it. Nobody consents a second time.
func TestImportFromMCPRemote(t *testing.T) {
	ctx := untilStopped(t)
	server, store := oauthtest.New(t), t.TempDir()
	signInWithMCPRemote(ctx, t, server, store)
	before := server.Grants()
	if len(before) != 1 {
		t.Fatalf("mcp-remote has %d grants", len(before))
	}
	plane, operator := harness.StartForTest(ctx, t)
	c := &cluster{plane, operator}
	if err := c.plane.Namespace(ctx, "from-mcp-remote"); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	f := kube.NewFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	if code := plugin.Run(ctx, f, []string{
		"import", "taken-over", server.MCPURL(), "--mcp-remote=" + store, "--issuer=" + server.Issuer(), "--apply", "-n",
		"from-mcp-remote", "--kubeconfig", c.plane.Kubeconfig,
		"--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8",
	}); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	at := client.ObjectKey{Namespace: "from-mcp-remote", Name: "taken-over"}
	if _, err := c.plane.WaitCondition(ctx, at, patience, "Ready", "True", ""); err != nil {
		t.Fatal(err)
	}
	after := server.Grants()
	if len(after) != 1 || after[0].Refreshes != before[0].Refreshes+1 || after[0].ClientID != before[0].ClientID ||
		after[0].Reused {
		t.Errorf("the grant is not the one of mcp-remote: %d grants", len(after))
	}
}

// signInWithMCPRemote runs mcp-remote until its folder holds tokens, and stops it, as whoever moves away from it must.
func signInWithMCPRemote(ctx context.Context, t *testing.T, server *oauthtest.Server, store string) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("node_modules", "mcp-remote", "dist", "client.js"))
	if err == nil {
		_, err = os.Stat(script)
	}
	if err != nil {
		t.Fatal("npm packages are not installed: run make interop")
	}
	cmd := exec.CommandContext(ctx, node(), script, server.MCPURL(), "--allow-http")
	// No browser is to be found: the link is read from what it prints.
	cmd.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+store, "PATH=/nonexistent", "BROWSER=none")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	consented := make(chan error, 1)
	go func() { consented <- consentToMCPRemote(said, server) }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	select {
	case err = <-consented:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		found, err := filepath.Glob(filepath.Join(store, "*", "*_tokens.json"))
		return len(found) > 0, err
	})
	if err != nil {
		t.Fatalf("mcp-remote keeps no tokens: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
}

// consentToMCPRemote waits for the link, consents, and goes where the server sends the browser. What else is said is
// read to its end.
func consentToMCPRemote(said io.Reader, server *oauthtest.Server) error {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), server.URL+oauthtest.AuthorizePath) {
			continue
		}
		back, err := server.Approve(lines.Text())
		if err != nil {
			return err
		}
		page, err := http.Get(back.String())
		if err != nil {
			return err
		}
		_ = page.Body.Close()
		go func() { _, _ = io.Copy(io.Discard, said) }()
		return nil
	}
	return errors.New("mcp-remote printed no link")
}
