package plugin

import (
	"context"
	_ "embed" // the script
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// completionPatience bounds what a person waits for after the tab key.
const completionPatience = 3 * time.Second

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// oneName completes the name of a connection in the namespace of the flags, as the only argument.
func oneName(f *kube.Factory) completion {
	return func(cmd *cobra.Command, arguments []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(arguments) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		namespace, err := f.Namespace()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return namesOf(cmd.Context(), f, &v1alpha1.MCPConnectionList{}, begun, client.InNamespace(namespace)),
			cobra.ShellCompDirectiveNoFileComp
	}
}

// namesOf are the names in a list of the cluster that begin with a text; none if it does not answer.
func namesOf(ctx context.Context, f *kube.Factory, list client.ObjectList, begun string,
	options ...client.ListOption) []string {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	c, err := f.Client()
	if err != nil || c.List(ctx, list, options...) != nil {
		return nil
	}
	var names []string
	add := func(name string) {
		if strings.HasPrefix(name, begun) {
			names = append(names, name)
		}
	}
	switch list := list.(type) {
	case *v1alpha1.MCPConnectionList:
		for i := range list.Items {
			add(list.Items[i].Name)
		}
	case *corev1.NamespaceList:
		for i := range list.Items {
			add(list.Items[i].Name)
		}
	}
	return names
}

// completeFlags completes what kubectl's flags name.
func completeFlags(f *kube.Factory, root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, begun string) ([]string,
		cobra.ShellCompDirective) {
		return namesOf(cmd.Context(), f, &corev1.NamespaceList{}, begun), cobra.ShellCompDirectiveNoFileComp
	})
	_ = root.RegisterFlagCompletionFunc("context", func(_ *cobra.Command, _ []string, begun string) ([]string,
		cobra.ShellCompDirective) {
		config, err := f.Flags.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for name := range config.Contexts {
			if strings.HasPrefix(name, begun) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// CompleteScript is what kubectl runs to complete the plugin, a file of this name on the PATH.
//
//go:embed kubectl_complete-mcpc
var CompleteScript string

func completionCommand(f *kube.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "completion",
		Short: "Print the program by which kubectl completes this plugin",
		Long: `Print kubectl_complete-mcpc, which makes kubectl complete this plugin.

kubectl asks a plugin for completions by a program of that name on the PATH. The
archives of a release hold it too.`,
		Example: `  kubectl mcpc completion >~/.local/bin/kubectl_complete-mcpc
  chmod +x ~/.local/bin/kubectl_complete-mcpc`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(f.Out, CompleteScript)
			return err
		},
	}
}
