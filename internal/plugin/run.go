package plugin

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// Run does what a command line says and returns the exit code. What goes wrong is one line on standard error.
func Run(ctx context.Context, f *kube.Factory, arguments []string) int {
	// Libraries log to standard error by themselves, with places in their source. Whatever matters comes back as an error.
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
	root, started := command(f)
	root.SetArgs(arguments)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return kube.ExitReady
	case !*started: // cobra's own: a flag, an argument, a verb
		err = &kube.ExitError{Code: kube.ExitUsage, Err: fmt.Errorf("%w; see %s --help", err, root.CommandPath())}
	case ctx.Err() != nil:
		err = kube.Interrupted(ctx)
	}
	err = kube.Explain(err)
	_, _ = fmt.Fprintln(f.ErrOut, "kubectl mcpc: "+err.Error())
	return kube.ExitCode(err)
}
