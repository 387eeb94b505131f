// Command dev runs the operator from source against a Kubernetes API server and etcd of its own, in which the CRD and
// the operator's roles are installed, and builds and restarts it whenever its source changes. Ctrl-C ends all of it.
//
// Its arguments are flags of the operator, and win over those that it gives.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mcp-connection/operator/test/harness"
)

// address is where the pages of config/local are.
const address = "localhost:8082"

func main() {
	if err := run(os.Args[1:]); err != nil {
		say("%v", err)
		os.Exit(1)
	}
	say("stopped")
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "dev: "+format+"\n", args...) }

func run(flags []string) (err error) {
	ctx, stop := harness.UntilStopped()
	defer stop()
	root, err := harness.RepoRoot()
	if err != nil {
		return err
	}
	plane, err := harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Manifests: "config/local", Logf: say})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(unlessStopped(ctx, err), plane.Stop()) }()
	say(`the API server is up. In another terminal:

  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl create namespace agents && kubectl get mcpc -A -w
  make generate manifests install    # after a change of the API

Pages: http://%s. Servers on this machine may be called, by http too. Ctrl-C ends everything, connections included.
`, plane.Kubeconfig, filepath.Dir(plane.KubectlPath()), address)
	p := &program{
		root: root, sources: []string{"api", "internal", "cmd", "go.mod", "go.sum"}, pkg: "./cmd",
		binary: filepath.Join(plane.Dir, "operator"), out: os.Stdout, logf: say,
		arguments: func(ctx context.Context) ([]string, error) {
			kubeconfig, err := plane.OperatorKubeconfig(ctx) // with a fresh token
			return append(append(harness.OperatorFlags(kubeconfig, "http://"+address, address, "0"), "--log-format=console"),
				flags...), err
		},
	}
	return p.follow(ctx)
}

// unlessStopped is err, unless that is of what Ctrl-C ended halfway.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
