package interop

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/test/harness"
)

const (
	namespace = "interop"
	// patience bounds every single wait.
	patience = time.Minute
	// refreshes of one token before the operator is restarted.
	refreshes = 3
)

// target is an authorization server written by others.
type target struct {
	name string
	// manifest is a file in testdata; its serverURL is replaced.
	manifest string
	// start runs the server and its MCP server until the test ends. It skips the test if it is not installed.
	start func(context.Context, *testing.T) *running
}

// running is a target that runs.
type running struct {
	// issuer and serverURL are shown to the person.
	issuer, serverURL string
	// answer fills in the server's login and consent forms.
	answer func(*harness.Page) (*harness.Form, error)
	// seen counts what the authorization server was asked.
	seen func() counts
	// secrets are all secret values that were exchanged, by a name that may be printed.
	secrets func() map[string]string
	// ended fails unless the server refuses what is left of the grant.
	ended func(context.Context) error
}

// counts are requests as the authorization server saw them.
type counts struct {
	Registrations, Codes, Refreshes, Revocations, Errors int
}

// targets are all servers that the scenario is played against.
var targets = []target{
	{name: "oidc-provider", manifest: "oidc-provider.yaml", start: startOIDCProvider},
}

// TestInterop plays the scenario against every target, with one control plane and one operator.
func TestInterop(t *testing.T) {
	ctx := untilStopped(t)
	plane, err := harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := plane.Namespace(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	operator, err := harness.StartOperator(ctx, plane)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := operator.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			s := &scenario{T: t, plane: plane, operator: operator, running: target.start(ctx, t)}
			s.key = client.ObjectKey{Namespace: namespace, Name: target.name}
			s.play(ctx, target.manifest)
		})
	}
}

// untilStopped ends early enough before go test's own time-out, and on Ctrl-C, for everything to be stopped.
func untilStopped(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	if deadline, ok := t.Deadline(); ok {
		limited, cancel := context.WithDeadline(ctx, deadline.Add(-patience))
		t.Cleanup(cancel)
		return limited
	}
	return ctx
}
