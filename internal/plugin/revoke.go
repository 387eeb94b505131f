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
		steps:      revoking,
		conclude: func(_ *kube.Factory, m *v1alpha1.MCPConnection) string {
			if replaced(m) {
				return "has a new token, in place of the one that was revoked"
			}
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
				sure = func(m *v1alpha1.MCPConnection) error { return confirm(cmd.Context(), f, m) }
			}
			return r.run(cmd.Context(), f, arguments[0], sure)
		},
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// revoking are the steps without which a grant is not revoked, or its token still stands in the Secret.
var revoking = []string{"observe", "save", "withdrawToken", "publish", "revoke"}

// replaced reports whether a token is published of a grant that is not to be revoked.
func replaced(m *v1alpha1.MCPConnection) bool {
	return m.Status.Token != nil && m.Status.Token.IssuedAt != nil
}

// revoked reports whether no token is published but a new one, and no revocation is under way. Status shows a withdrawn
// grant that waits for its revocation by scopes and an account alone.
func revoked(before, now *v1alpha1.MCPConnection) (bool, error) {
	failure := failing(now, revoking...)
	switch {
	case failure != nil && failure.RetryAt == nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s: %s", now.Namespace, now.Name, view.Plain(failure.Message))
	case failure != nil, !view.Known(now):
		return false, nil
	case replaced(now): // tokens without a person are requested in the reconcile that revokes
		return secretVersion(now) != secretVersion(before), nil
	case view.Ready(now) && now.Status.AuthorizationServer != nil:
		return false, nil
	}
	return len(now.Status.Scopes) == 0 && now.Status.AuthorizedBy == "", nil
}

// revocationFailed is the reason of the event by which the operator says that a grant lives on at its server.
const revocationFailed = "RevocationFailed"

// revocationLooks is how often unrevoked looks, over two seconds: status is written first, events at the recorder's
// leisure.
const revocationLooks = 5

// unrevoked is an error if the server would not revoke the grant: the Secret is empty, but somebody has to end the
// grant there. It is one too if events cannot be read; err says why those before the request could not.
func unrevoked(ctx context.Context, f *kube.Factory, c client.Reader, m *v1alpha1.MCPConnection, told []corev1.Event,
	err error) error {
	for look := 1; look <= revocationLooks && err == nil; look++ {
		if look > 1 {
			select {
			case <-ctx.Done():
				return kube.Ended(ctx)
			case <-f.Clock.After(kube.LookInterval):
			}
		}
		var now []corev1.Event
		if now, err = events(ctx, c, m); err == nil {
			if refused := refusal(m, told, now); refused != nil {
				return refused
			}
		}
	}
	if err != nil {
		return kube.Exit(kube.ExitFailed, "no token of the old grant of %s/%s is published any more, but whether its "+
			"server revoked the grant could not be checked: %w", m.Namespace, m.Name, kube.Explain(err))
	}
	return nil
}

// refusal is an error if events tell that a grant was not revoked. They are told from earlier ones by their versions,
// for the clocks of two machines may differ.
func refusal(m *v1alpha1.MCPConnection, told, now []corev1.Event) error {
	for _, e := range now {
		old := slices.ContainsFunc(told, func(t corev1.Event) bool {
			return t.UID == e.UID && t.ResourceVersion == e.ResourceVersion
		})
		if e.Reason == revocationFailed && !old {
			return kube.Exit(kube.ExitFailed, "the token Secret of %s/%s is empty, but: %s", m.Namespace, m.Name,
				view.Plain(e.Message))
		}
	}
	return nil
}

// confirm asks a person before a grant is revoked.
func confirm(ctx context.Context, f *kube.Factory, m *v1alpha1.MCPConnection) error {
	if !f.InTerminal().Is {
		return kube.Exit(kube.ExitUsage, "nobody is there to be asked whether to revoke the grant of %s/%s: add --yes",
			m.Namespace, m.Name)
	}
	where := ""
	if config, err := f.Flags.ToRawKubeConfigLoader().RawConfig(); err == nil {
		name := config.CurrentContext
		if f.Flags.Context != nil && *f.Flags.Context != "" {
			name = *f.Flags.Context
		}
		where = " (context " + name + ")"
	}
	_, _ = fmt.Fprintf(f.ErrOut, "Revoke the grant of %s/%s%s at %s and empty its Secret? Workloads lose their access "+
		"at once. [y/N] ",
		m.Namespace, m.Name, where, view.Plain(m.Spec.ServerURL))
	answers := make(chan string, 1)
	go func() {
		answer, err := bufio.NewReader(f.In).ReadString('\n') // no signal ends it
		if err != nil {
			_, _ = fmt.Fprintln(f.ErrOut)
		}
		answers <- answer
	}()
	answer := ""
	select {
	case <-ctx.Done():
		return kube.Interrupted(ctx)
	case answer = <-answers:
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return kube.Exit(kube.ExitFailed, "nothing was revoked")
	}
	return nil
}
