package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// patience is the default of --timeout where a server acts; personsPatience where a person does.
const (
	patience        = 2 * time.Minute
	personsPatience = 10 * time.Minute
)

func addTimeout(cmd *cobra.Command, timeout *time.Duration, standard time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", standard, "give up after this time, with exit code 3; 0 is never")
}

func waitCommand(f *kube.Factory) *cobra.Command {
	timeout := time.Duration(0)
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until a connection is Ready, or say why it will not be",
		Long: `Wait until a connection is Ready, with progress on standard error.

It ends at once where waiting is of no use: the spec wants an edit, the
connection is suspended or deleted, consent was denied. It goes on while a
person is awaited.`,
		Example: `  kubectl mcpc wait notion
  kubectl mcpc wait notion -n agents --timeout 30s || echo "exit code $?"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			ctx, cancel := kube.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return waitReady(ctx, f, arguments[0])
		},
	}
	addTimeout(cmd, &timeout, patience)
	return cmd
}

func waitReady(ctx context.Context, f *kube.Factory, name string) error {
	c, m, err := f.Connection(ctx, name)
	if err != nil {
		return err
	}
	p := &progress{f: f}
	err = f.Follow(ctx, c, m, func(seen *v1alpha1.MCPConnection) (bool, error) {
		m = seen
		p.tell(seen)
		if view.Known(seen) && view.Ready(seen) && seen.DeletionTimestamp == nil {
			return true, nil
		}
		return false, first(hopeless(seen), denied(seen))
	}, p.lost)
	return concluded(f, m, err)
}

// concluded prints what a wait ended with: that it is Ready, or after --timeout what stands in the way.
func concluded(f *kube.Factory, m *v1alpha1.MCPConnection, err error) error {
	var exit *kube.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == kube.ExitTimedOut:
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w; %s", m.Namespace, m.Name, err, why(m))
	case err != nil:
		return err
	}
	text := fmt.Sprintf("%s/%s is Ready", m.Namespace, m.Name)
	if t := m.Status.Token; t != nil && t.SecretName != "" {
		text += ": the token is in Secret " + t.SecretName
		if expires := view.Ago(f.Now(), t.ExpiresAt); expires != "" {
			text += ", expires " + expires
		}
	}
	_, err = fmt.Fprintln(f.Out, text)
	return err
}

// hopeless is why no wait leads to Ready; nil if one may.
func hopeless(m *v1alpha1.MCPConnection) error {
	switch {
	case m.DeletionTimestamp != nil:
		return kube.Exit(kube.ExitFailed, "MCPConnection %s/%s is being deleted", m.Namespace, m.Name)
	case view.Suspended(m):
		return kube.Exit(kube.ExitFailed, "%s/%s is suspended: kubectl mcpc resume %s -n %s", m.Namespace, m.Name, m.Name,
			m.Namespace)
	case view.Known(m) && view.Reason(m) == v1alpha1.ReasonConsentUnavailable: // the old token may be valid still
		return kube.Exit(kube.ExitFailed, "%s", consentUnavailable(m))
	case view.Stalled(m):
		return kube.Exit(kube.ExitFailed, "%s/%s waits for an edit; %s", m.Namespace, m.Name, why(m))
	}
	return nil
}

// consentUnavailable is what to do where the operator has no address for browsers. The command serves a first try.
func consentUnavailable(m *v1alpha1.MCPConnection) string {
	return fmt.Sprintf("%s/%s: a person's consent is needed, but the operator has no address for browsers "+
		"(ConsentUnavailable). Set --external-url, for a first try to a port that this command forwards by itself: %s",
		m.Namespace, m.Name,
		`kubectl patch deployment mcp-connection-controller-manager -n mcp-connection-system --type=json -p '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--external-url=http://localhost:8082"}]'`)
}

// first is the first error of some; nil if none is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// denied is an error if the person or the authorization server said no to the last consent.
func denied(m *v1alpha1.MCPConnection) error {
	if c := view.Condition(m, v1alpha1.ConditionAuthorized); view.Known(m) && c != nil &&
		c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonAccessDenied {
		return kube.Exit(kube.ExitDenied, "%s/%s: %s", m.Namespace, m.Name, view.Plain(c.Message))
	}
	return nil
}
