// Command demo shows the operator's main job on real parts: a Kubernetes API server and etcd, the operator under
// its own ServiceAccount, an MCP server of the official Go SDK and a strict authorization server with 30-second
// tokens. It gives the consent as a browser would, unless INTERACTIVE=1 leaves that to a person.
//
// Its last line is "1 passed, 0 failed" or "0 passed, 1 failed". DEMO_KUBECONFIG names an existing cluster.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

const (
	// tokenLifetime is what the demo's authorization server gives an access token.
	tokenLifetime = 30 * time.Second
	// unattendedLimit ends a run that hangs; a cold build of the control plane is not part of it.
	unattendedLimit = 10 * time.Minute
)

func main() { os.Exit(run()) }

// run tells the story, cleans up whatever happens, and prints the closing line.
func run() int {
	ctx, stop := harness.UntilStopped()
	defer stop()
	s := newStory(os.Getenv("INTERACTIVE") == "1", os.Getenv("DEMO_KUBECONFIG"))
	err := func() error {
		defer s.tearDown() // also on a panic
		err := s.tell(ctx)
		if err != nil {
			s.showFailure(ctx, err)
		}
		return err
	}()
	if s.cleanupErr != nil {
		fmt.Printf("\nCleaning up failed: %v\n", s.cleanupErr)
	}
	if err != nil || s.cleanupErr != nil {
		fmt.Printf("\n0 passed, 1 failed\n")
		return 1
	}
	fmt.Printf("\n1 passed, 0 failed\n")
	return 0
}
