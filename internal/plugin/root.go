// Package plugin is kubectl mcpc: the command for the person who has to act. It uses the public API alone.
package plugin

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcp-connection/operator/internal/plugin/doctor"
	"github.com/mcp-connection/operator/internal/plugin/imported"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/report"
)

// Command is the root of the plugin.
func Command(f *kube.Factory) *cobra.Command {
	root, _ := command(f)
	return root
}

// shownFlags are those of kubectl's that help tells of. The others work too.
var shownFlags = []string{"namespace", "context", "kubeconfig"}

// command is the root, and whether a verb of it has begun: before that every error is one of the command line.
func command(f *kube.Factory) (root *cobra.Command, started *bool) {
	started = new(bool)
	cobra.EnableCommandSorting = false // in the order of the page
	root = &cobra.Command{
		Use:   "kubectl-mcpc",
		Short: "Connect workloads to MCP servers that demand OAuth",
		Long: `Connect workloads to MCP servers that demand OAuth.

Exit codes: 0 done, or Ready; 1 failed; 2 usage; 3 timed out; 4 denied;
130 interrupted (ctrl-C). kubectl's flags for the cluster and the user work with
every verb (kubectl options).`,
		Example: `  # from nothing to a token in a Secret
  kubectl mcpc create notion https://mcp.notion.com/mcp --apply
  kubectl mcpc authorize notion

  # what waits for a person, in all namespaces
  kubectl mcpc list -A`,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl mcpc"},
		Version:           f.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	root.SetIn(f.In)
	root.SetOut(f.Out)
	root.SetErr(f.ErrOut)
	f.AddFlags(root.PersistentFlags())
	root.PersistentFlags().VisitAll(func(flag *pflag.Flag) { flag.Hidden = !slices.Contains(shownFlags, flag.Name) })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", "Flags.FlagUsagesWrapped 80"))
	for _, verb := range verbs(f) {
		if verb.ValidArgsFunction == nil {
			verb.ValidArgsFunction = cobra.NoFileCompletions
		}
		root.AddCommand(verb)
	}
	completeFlags(f, root)
	return root, started
}

// verbs in the order of the page about them.
func verbs(f *kube.Factory) []*cobra.Command {
	return []*cobra.Command{
		createCommand(f), listCommand(f), statusCommand(f), authorizeCommand(f), waitCommand(f),
		refreshCommand(f), reauthorizeCommand(f), revokeCommand(f), suspendCommand(f), resumeCommand(f),
		tokenCommand(f), imported.Command(f), named(f, doctor.Command(f)), named(f, report.Command(f)), completionCommand(f),
	}
}

// named completes the verb's argument with names of connections.
func named(f *kube.Factory, verb *cobra.Command) *cobra.Command {
	verb.ValidArgsFunction = oneName(f)
	return verb
}
