// Command kubectl-mcpc is a plugin of kubectl: kubectl mcpc.
package main

import (
	"context"
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // what kubeconfigs of hosted clusters name

	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := kube.WithSignals(context.Background())
	defer stop()
	f := kube.NewFactory(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr})
	f.Version = version
	return plugin.Run(ctx, f, os.Args[1:])
}
