package plugin

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

func revokeCommand(f *kube.Factory) *cobra.Command {
	yes := false
	r := &request{
		annotation: v1alpha1.AnnotationRevoke,
		handled:    func(h *v1alpha1.LastHandled) string { return h.Revoke },
		done:       revoked,
		check:      unrevoked,
		conclude: func(_ *kube.Factory, m *v1alpha1.MCPConnection) string {
			text := "has no grant any more, and the token Secret is empty"
			if m.Status.AuthorizationURL != "" {
				text += fmt.Sprintf("; for a new consent: kubectl mcpc authorize %s -n %s", m.Name, m.Namespace)
			}
			return text
		},
	}
	cmd := r.addWait(&cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke the grant and empty the token Secret now (a leak)",
		Long: `Revoke every grant of the connection at its authorization server and empty the
token Secret now; then a new consent is asked for. It works while the connection
is suspended too. It asks before it does, unless --yes is given.`,
		Example: `  kubectl mcpc revoke notion
  kubectl mcpc revoke notion -n agents --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			var sure func(*v1alpha1.MCPConnection) error
			if !yes {
				sure = func(m *v1alpha1.MCPConnection) error { return confirm(f, m) }
			}
			return r.run(cmd.Context(), f, arguments[0], sure)
		},
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// revoked reports whether no token is published, and no revocation is under way.
func revoked(_, now *v1alpha1.MCPConnection) (bool, error) {
	failure := failing(now, "revoke")
	switch {
	case failure != nil && failure.RetryAt == nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s: %s", now.Namespace, now.Name, view.Plain(failure.Message))
	case failure != nil, !view.Known(now):
		return false, nil
	case view.Ready(now) && !view.Suspended(now) && now.Status.AuthorizationServer != nil:
		return false, nil
	}
	return true, nil
}

// revocationFailed is the reason of the event by which the operator says that a grant lives on at its server.
const revocationFailed = "RevocationFailed"

// unrevoked is an error if the server would not revoke the grant: the Secret is empty, but somebody has to end the grant there.
// Events are seen by their versions, for the clocks of two machines may differ.
func unrevoked(ctx context.Context, c client.Reader, m *v1alpha1.MCPConnection, told []corev1.Event) error {
	for _, e := range events(ctx, c, m) {
		old := slices.ContainsFunc(told, func(t corev1.Event) bool { return t.UID == e.UID && t.ResourceVersion == e.ResourceVersion })
		if e.Reason == revocationFailed && !old {
			return kube.Exit(kube.ExitFailed, "the token Secret of %s/%s is empty, but: %s", m.Namespace, m.Name, view.Plain(e.Message))
		}
	}
	return nil
}

// confirm asks a person before a grant is revoked.
func confirm(f *kube.Factory, m *v1alpha1.MCPConnection) error {
	if !f.InTerminal().Is {
		return kube.Exit(kube.ExitUsage, "nobody is there to be asked whether to revoke the grant of %s/%s: add --yes", m.Namespace, m.Name)
	}
	where := ""
	if config, err := f.Flags.ToRawKubeConfigLoader().RawConfig(); err == nil {
		name := config.CurrentContext
		if f.Flags.Context != nil && *f.Flags.Context != "" {
			name = *f.Flags.Context
		}
		where = " (context " + name + ")"
	}
	_, _ = fmt.Fprintf(f.ErrOut, "Revoke the grant of %s/%s%s at %s and empty its Secret? Workloads lose their access at once. [y/N] ",
		m.Namespace, m.Name, where, view.Plain(m.Spec.ServerURL))
	answer, err := bufio.NewReader(f.In).ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(f.ErrOut)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return kube.Exit(kube.ExitFailed, "nothing was revoked")
	}
	return nil
}
