// Command driver is the client that the conformance suite starts for each scenario. It plays the operator's consumer:
// it creates an MCPConnection for the server URL that the suite appends, opens each link once as a person would, reads
// the token Secret and calls the server with it.
//
// It exits 0 after it has used the server, and 1 otherwise. Where the suite wants a refusal it accepts any exit code,
// so the driver also leaves a verdict, which knows the reason that the operator must give.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/test/conformance/verdict"
	"github.com/mcp-connection/operator/test/harness"
)

// lifetime ends the driver before the suite's time-out of a minute would, without a word about the reason.
const lifetime = 50 * time.Second

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	ctrllog.SetLogger(logr.Discard())
	err := run()
	v := judge(os.Getenv("MCP_CONFORMANCE_SCENARIO"), err)
	log.Print(v)
	if unwritten := v.Write(); unwritten != nil {
		log.Print(unwritten)
	}
	if err != nil || !v.OK() {
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	c, err := newConsumer()
	if err != nil {
		return err
	}
	return c.play(ctx)
}

// judge holds what happened against what the scenario wants.
func judge(scenario string, err error) verdict.Verdict {
	want := refusals[scenario]
	var refused *refusal
	switch {
	case err == nil && want == "":
		return verdict.Behaved("the server was used")
	case err == nil:
		return verdict.Misbehaved(fmt.Errorf("the server was used, but should have been refused with %s", want))
	case want != "" && errors.As(err, &refused) && refused.reason == want:
		return verdict.Behaved("refused with " + want)
	case want != "":
		return verdict.Misbehaved(fmt.Errorf("should have been refused with %s: %w", want, err))
	}
	return verdict.Misbehaved(err)
}

// newConsumer reads what the suite and the runner say.
func newConsumer() (*consumer, error) {
	if len(os.Args) < 2 {
		return nil, errors.New("the suite appends the server's URL")
	}
	s := scenario{
		name:            os.Getenv("MCP_CONFORMANCE_SCENARIO"),
		protocolVersion: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION"),
		serverURL:       os.Args[len(os.Args)-1],
		namespace:       os.Getenv(verdict.NamespaceVariable),
	}
	if s.name == "" || s.namespace == "" {
		return nil, fmt.Errorf("MCP_CONFORMANCE_SCENARIO and %s must be set", verdict.NamespaceVariable)
	}
	if text := os.Getenv("MCP_CONFORMANCE_CONTEXT"); text != "" {
		if err := json.Unmarshal([]byte(text), &s.context); err != nil {
			return nil, fmt.Errorf("MCP_CONFORMANCE_CONTEXT: %w", err)
		}
	}
	plane, err := harness.AttachControlPlane(os.Getenv("KUBECONFIG"), log.Printf)
	if err != nil {
		return nil, err
	}
	return &consumer{scenario: s, plane: plane, browser: harness.NewBrowser(), opened: map[string]bool{}}, nil
}
