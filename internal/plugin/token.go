package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

func tokenCommand(f *kube.Factory) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Print the Authorization header for one curl",
		Long: `Print the Authorization header with the present token, for one curl. A token is
a secret: it is printed on a terminal only, unless --force is given. Workloads
mount the Secret instead.`,
		Example: `  kubectl mcpc token notion
  curl -H "$(kubectl mcpc token notion --force)" https://mcp.notion.com/mcp`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if !f.OutTerminal().Is && !force {
				return kube.Exit(kube.ExitUsage, "standard output is no terminal, and a token is a secret: add --force to print "+
					"it all the same")
			}
			header, err := authorizationHeader(cmd.Context(), f, arguments[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(f.Out, header)
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "print it although standard output is no terminal")
	return cmd
}

// authorizationHeader is what a request to the server needs. The error says why there is no such thing.
func authorizationHeader(ctx context.Context, f *kube.Factory, name string) (string, error) {
	c, m, err := f.Connection(ctx, name)
	if err != nil {
		return "", err
	}
	if !view.Ready(m) || m.Status.Token == nil {
		return "", kube.Exit(kube.ExitFailed, "%s/%s has no valid token; %s", m.Namespace, m.Name, why(m))
	}
	if t := m.Status.Token; t.ExpiresAt != nil && !t.ExpiresAt.After(f.Now()) {
		return "", kube.Exit(kube.ExitFailed, "the token of %s/%s expired %s", m.Namespace, m.Name,
			view.Ago(f.Now(), t.ExpiresAt))
	}
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: m.Namespace, Name: m.Status.Token.SecretName}
	if err := c.Get(ctx, key, secret); err != nil {
		return "", kube.Explain(fmt.Errorf("read Secret %s: %w", key, err))
	}
	if value := secret.Data[v1alpha1.KeyDPoPJWK]; len(value) > 0 {
		return "", kube.Exit(kube.ExitFailed, "the token of %s/%s is bound to a key (DPoP), so no header alone is enough: "+
			"sign each request with the key %s of Secret %s",
			m.Namespace, m.Name, v1alpha1.KeyDPoPJWK, secret.Name)
	}
	value := string(secret.Data[v1alpha1.KeyAuthorization])
	if value == "" {
		return "", kube.Exit(kube.ExitFailed, "%s/%s needs no token: its server answers without authorization", m.Namespace,
			m.Name)
	}
	return "Authorization: " + value, nil
}
