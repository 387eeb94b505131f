package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

func suspendCommand(f *kube.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "suspend NAME",
		Short: "Stop all calls for a connection; nothing is deleted",
		Long: `Stop refreshes, consents and calls for a connection. Nothing is deleted: the
token stays in the Secret until it expires. revoke works while it is suspended.`,
		Example:           `  kubectl mcpc suspend notion`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return suspend(cmd.Context(), f, arguments[0], true)
		},
	}
}

func resumeCommand(f *kube.Factory) *cobra.Command {
	return &cobra.Command{
		Use:               "resume NAME",
		Short:             "Take a suspended connection up again",
		Example:           `  kubectl mcpc resume notion && kubectl mcpc wait notion`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return suspend(cmd.Context(), f, arguments[0], false)
		},
	}
}

func suspend(ctx context.Context, f *kube.Factory, name string, is bool) error {
	c, m, err := f.Connection(ctx, name)
	if err != nil {
		return err
	}
	state := map[bool]string{true: "suspended", false: "resumed"}[is]
	if view.Suspended(m) == is {
		_, err := fmt.Fprintf(f.Out, "%s/%s was %s already\n", m.Namespace, m.Name,
			map[bool]string{true: "suspended", false: "not suspended"}[is])
		return err
	}
	value := any(true)
	if !is {
		value = nil // a false of ours would conflict with whoever applies the field later
	}
	if err := patch(ctx, c, m, map[string]any{"metadata": map[string]any{"uid": m.UID},
		"spec": map[string]any{"suspend": value}}); err != nil {
		return kube.Explain(err)
	}
	_, err = fmt.Fprintf(f.Out, "%s/%s is %s\n", m.Namespace, m.Name, state)
	return err
}
