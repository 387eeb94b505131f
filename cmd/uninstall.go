package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// envHelmRelease names the release that is about to be uninstalled (the chart sets it).
const envHelmRelease = "HELM_RELEASE"

// leftPage is how many connections are asked for at once; only their metadata is.
const leftPage = 500

// checkUninstall is what --uninstall-check does instead of running the operator.
func (o *options) checkUninstall(ctx context.Context, config *rest.Config) error {
	c, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("setting up the client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	return checkUninstall(ctx, c, o.watchNamespaces, o.operatorNamespace)
}

// checkUninstall fails while there are connections in the namespaces (none: in all), and says how to get on.
func checkUninstall(ctx context.Context, c client.Reader, namespaces []string, operatorNamespace string) error {
	const remove = "kubectl delete mcpconnections.mcp-connection.dev --all"
	commands := []string{}
	total := 0
	for _, namespace := range orAll(namespaces) {
		left, err := countConnections(ctx, c, namespace)
		if err != nil {
			return fmt.Errorf("counting the MCPConnections that are left: %w", err)
		}
		switch {
		case left > 0 && namespace == metav1.NamespaceAll:
			commands = append(commands, remove+" --all-namespaces")
		case left > 0:
			commands = append(commands, remove+" --namespace "+namespace)
		}
		total += left
	}
	if total == 0 {
		return nil
	}
	keep := "skip this check"
	if release := os.Getenv(envHelmRelease); release != "" {
		keep = fmt.Sprintf("helm uninstall %s --namespace %s --no-hooks", release, operatorNamespace)
	}
	return fmt.Errorf("MCPConnections are left (%d), and without the operator nobody refreshes or revokes their grants: "+
		"delete them (%s), or leave them to the next installation in the namespace %s: %s",
		total, strings.Join(commands, " && "), operatorNamespace, keep)
}

// orAll are the namespaces to list in.
func orAll(namespaces []string) []string {
	if len(namespaces) == 0 {
		return []string{metav1.NamespaceAll}
	}
	return namespaces
}

// countConnections also counts those that are being deleted: they still want the operator.
func countConnections(ctx context.Context, c client.Reader, namespace string) (int, error) {
	page := &metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MCPConnectionList"))
	count := 0
	for {
		err := c.List(ctx, page, client.InNamespace(namespace), client.Limit(leftPage), client.Continue(page.Continue))
		if meta.IsNoMatchError(err) {
			return 0, nil // no CustomResourceDefinition, so nothing is left
		}
		if err != nil {
			return 0, err
		}
		if count += len(page.Items); page.Continue == "" {
			return count, nil
		}
	}
}
