// Package plugin is kubectl mcpc: the command for the person who has to act.
package plugin

import (
	"github.com/spf13/cobra"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// Command is the root of the plugin.
func Command(f *kube.Factory) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-mcpc",
		Short:         "Connect workloads to MCP servers that demand OAuth",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl mcpc"},
		Version:       f.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(f.In)
	root.SetOut(f.Out)
	root.SetErr(f.ErrOut)
	f.AddFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &kube.ExitError{Code: kube.ExitUsage, Err: err} })
	return root
}
