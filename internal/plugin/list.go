package plugin

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// outputs are the values of --output.
var outputs = []string{"json", "yaml", "name", "wide"}

type listOptions struct {
	all    bool
	output string
}

func listCommand(f *kube.Factory) *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List connections, those that wait for a person first",
		Long: `List connections: first those that wait for a person, then by expiry, the
soonest first.

Times are as seen from now. json and yaml hold the objects as the cluster has
them, in the same order.`,
		Example: `  kubectl mcpc list
  kubectl mcpc list -A
  kubectl mcpc list -A -o wide
  kubectl mcpc list -A -o name | head -1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), f) },
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "list those of all namespaces")
	addOutput(cmd, &o.output, outputs)
	return cmd
}

// addOutput adds --output with its values.
func addOutput(cmd *cobra.Command, output *string, values []string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "one of "+fmt.Sprint(values))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func (o *listOptions) run(ctx context.Context, f *kube.Factory) error {
	if o.output != "" && !slices.Contains(outputs, o.output) {
		return kube.Exit(kube.ExitUsage, "--output is one of %v, not %q", outputs, o.output)
	}
	options, err := o.where(f)
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	// Unstructured, so that -o yaml keeps what only a newer operator knows.
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MCPConnectionList"))
	if err := c.List(ctx, found, options...); err != nil {
		return kube.Explain(fmt.Errorf("list MCPConnections: %w", err))
	}
	items, err := typed(found)
	if err != nil {
		return err
	}
	view.Sort(items)
	if o.output != "" && o.output != "wide" {
		return o.print(f, found, items)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(f.ErrOut, "There are no connections here: create one with kubectl mcpc create "+
			"NAME URL --apply")
		return err
	}
	table := view.Table{Style: view.StyleOf(f.OutTerminal()), Namespaces: o.all, Wide: o.output == "wide", Now: f.Now()}
	if !f.OutTerminal().Is {
		table.Width = 0 // whoever reads it further wants all of it
	}
	return table.Write(f.Out, items)
}

func (o *listOptions) where(f *kube.Factory) ([]client.ListOption, error) {
	if o.all {
		return nil, nil
	}
	namespace, err := f.Namespace()
	return []client.ListOption{client.InNamespace(namespace)}, err
}

// typed are the connections of a list, less the fields that this version does not know.
func typed(list *unstructured.UnstructuredList) ([]v1alpha1.MCPConnection, error) {
	items := make([]v1alpha1.MCPConnection, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &items[i]); err != nil {
			return nil, fmt.Errorf("read MCPConnection %s/%s: %w", list.Items[i].GetNamespace(), list.Items[i].GetName(), err)
		}
	}
	return items, nil
}

// print writes the objects as they are, in the order of the typed ones.
func (o *listOptions) print(f *kube.Factory, found *unstructured.UnstructuredList,
	order []v1alpha1.MCPConnection) error {
	at := map[string]int{}
	for i := range order {
		at[order[i].Namespace+"/"+order[i].Name] = i
	}
	slices.SortFunc(found.Items, func(a, b unstructured.Unstructured) int {
		return at[a.GetNamespace()+"/"+a.GetName()] - at[b.GetNamespace()+"/"+b.GetName()]
	})
	flags := genericclioptions.NewPrintFlags("").WithDefaultOutput(o.output)
	printer, err := flags.ToPrinter()
	if err != nil {
		return err
	}
	if o.output != "name" {
		return printer.PrintObj(found, f.Out)
	}
	for i := range found.Items {
		if err := printer.PrintObj(&found.Items[i], f.Out); err != nil {
			return err
		}
	}
	return nil
}
