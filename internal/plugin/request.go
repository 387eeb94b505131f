package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// request is an annotation that asks the operator for something, and what its being done looks like.
type request struct {
	annotation string
	// handled reads the value that was acted on.
	handled func(*v1alpha1.LastHandled) string
	// done reports whether the outcome is there too; an error is an outcome that is none.
	done func(before, now *v1alpha1.MCPConnection) (bool, error)
	// check, if not nil, may find afterwards that it was not done after all; told are the events before the request.
	check func(ctx context.Context, c client.Reader, now *v1alpha1.MCPConnection, told []corev1.Event) error
	// conclude is what is said then.
	conclude func(f *kube.Factory, m *v1alpha1.MCPConnection) string

	wait    bool
	timeout time.Duration
}

// addWait adds the flags of a verb that asks for something.
func (r *request) addWait(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&r.wait, "wait", true, "wait until the operator has done it and says whether the connection is Ready")
	addTimeout(cmd, &r.timeout, patience)
	return cmd
}

func refreshCommand(f *kube.Factory) *cobra.Command {
	r := &request{
		annotation: v1alpha1.AnnotationRefresh,
		handled:    func(h *v1alpha1.LastHandled) string { return h.Refresh },
		done:       refreshed,
		conclude: func(f *kube.Factory, m *v1alpha1.MCPConnection) string {
			text := "has a new token"
			if t := m.Status.Token; t != nil && t.ExpiresAt != nil {
				text += ", expires " + view.Ago(f.Now(), t.ExpiresAt)
			}
			return text
		},
	}
	return r.addWait(&cobra.Command{
		Use:   "refresh NAME",
		Short: "Have the token refreshed now",
		Long: `Have the token refreshed now. It is done when the operator has acted on the
request and the new token is in the Secret; what fails ends with exit code 1 and
the reason.`,
		Example: `  kubectl mcpc refresh notion
  kubectl mcpc refresh notion --wait=false`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return r.run(cmd.Context(), f, arguments[0], nil)
		},
	})
}

// failing is the failure of one of some steps; nil if none of them fails.
func failing(m *v1alpha1.MCPConnection, steps ...string) *v1alpha1.Failure {
	if f := m.Status.Failure; f != nil && slices.Contains(steps, f.Step) {
		return f
	}
	for i := range m.Status.OtherFailures {
		if f := &m.Status.OtherFailures[i]; slices.Contains(steps, f.Step) {
			return f
		}
	}
	return nil
}

// refreshed reports whether another token is in the Secret.
func refreshed(before, now *v1alpha1.MCPConnection) (bool, error) {
	version := func(m *v1alpha1.MCPConnection) string {
		if m.Status.Token == nil {
			return ""
		}
		return m.Status.Token.SecretResourceVersion
	}
	switch failure := failing(now, "refresh", "requestToken"); {
	case failure != nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s was not refreshed: %s", now.Namespace, now.Name, view.Plain(failure.Message))
	case version(now) != version(before) && view.Known(now) && view.Ready(now):
		return true, nil
	case now.Status.Token == nil || now.Status.Token.RefreshAt == nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s has nothing to refresh, so nothing was done; %s", now.Namespace, now.Name, why(now))
	}
	return false, nil
}

func reauthorizeCommand(f *kube.Factory) *cobra.Command {
	r := &request{
		annotation: v1alpha1.AnnotationReauthorize,
		handled:    func(h *v1alpha1.LastHandled) string { return h.Reauthorize },
		done:       linked,
		conclude: func(_ *kube.Factory, m *v1alpha1.MCPConnection) string {
			if m.Status.AuthorizationURL == "" {
				return "was authorized anew, without a person"
			}
			return fmt.Sprintf("has a link for a new consent: kubectl mcpc authorize %s -n %s", m.Name, m.Namespace)
		},
	}
	return r.addWait(&cobra.Command{
		Use:   "reauthorize NAME",
		Short: "Ask for a new consent; the old token works until it is replaced",
		Long: `Ask for a new consent. The old token works until it is replaced. It is done when
the operator offers a link for it, which authorize opens.`,
		Example:           `  kubectl mcpc reauthorize notion && kubectl mcpc authorize notion`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return r.run(cmd.Context(), f, arguments[0], nil)
		},
	})
}

// linked reports whether there is a link, or a new token where no person is needed.
func linked(_, now *v1alpha1.MCPConnection) (bool, error) {
	failure := failing(now, "discover", "register", "startAuthorization", "requestToken")
	switch {
	case now.Status.AuthorizationURL != "":
		return view.Known(now), nil
	case failure != nil && failure.RetryAt == nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s has no link: %s", now.Namespace, now.Name, view.Plain(failure.Message))
	case hopeless(now) != nil:
		return false, hopeless(now)
	}
	unattended := now.Spec.GrantType != "" && now.Spec.GrantType != v1alpha1.GrantTypeAuthorizationCode
	return unattended && view.Known(now) && view.Ready(now), nil
}

// run makes a request, and waits until it is done.
func (r *request) run(ctx context.Context, f *kube.Factory, name string, sure func(*v1alpha1.MCPConnection) error) error {
	c, err := f.Client()
	if err != nil {
		return err
	}
	before, err := f.Connection(ctx, c, name)
	if err != nil {
		return err
	}
	if before.DeletionTimestamp != nil || view.Suspended(before) && r.annotation != v1alpha1.AnnotationRevoke {
		return hopeless(before)
	}
	if sure != nil {
		if err := sure(before); err != nil {
			return err
		}
	}
	ctx, cancel := kube.WithTimeout(ctx, r.timeout)
	defer cancel()
	value, told := stamp(f), events(ctx, c, before)
	if err := annotate(ctx, c, before, r.annotation, value); err != nil {
		return kube.Explain(err)
	}
	if !r.wait {
		_, err := fmt.Fprintf(f.Out, "%s/%s: asked for\n", before.Namespace, before.Name)
		return err
	}
	m, err := r.follow(ctx, f, c, before, value)
	if err == nil && r.check != nil {
		err = r.check(ctx, c, m, told)
	}
	return r.end(f, m, value, err)
}

// follow waits until the request of a value is done, and returns the connection as it was seen last.
func (r *request) follow(ctx context.Context, f *kube.Factory, c client.Reader, before *v1alpha1.MCPConnection, value string) (*v1alpha1.MCPConnection, error) {
	p, m := &progress{f: f}, before
	err := f.Follow(ctx, c, before, func(seen *v1alpha1.MCPConnection) (bool, error) {
		m = seen
		if seen.DeletionTimestamp != nil {
			return false, hopeless(seen)
		}
		if h := seen.Status.LastHandled; h == nil || r.handled(h) != value {
			return false, nil
		}
		p.tell(seen)
		return r.done(before, seen)
	}, p.lost)
	return m, err
}

// end says how a request ended.
func (r *request) end(f *kube.Factory, m *v1alpha1.MCPConnection, value string, err error) error {
	var exit *kube.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == kube.ExitTimedOut && (m.Status.LastHandled == nil || r.handled(m.Status.LastHandled) != value):
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w, and the operator has not acted on the request: does it run, and serve this namespace?", m.Namespace, m.Name, err)
	case errors.As(err, &exit) && exit.Code == kube.ExitTimedOut:
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w; %s", m.Namespace, m.Name, err, why(m))
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(f.Out, "%s/%s %s\n", m.Namespace, m.Name, r.conclude(f, m))
	return err
}

// stamp is a value that no request had before.
func stamp(f *kube.Factory) string { return f.Now().UTC().Format(time.RFC3339Nano) }

// annotate sets an annotation, as the plugin's own field manager.
func annotate(ctx context.Context, c client.Client, m *v1alpha1.MCPConnection, name, value string) error {
	return patch(ctx, c, m, map[string]any{"metadata": map[string]any{"uid": m.UID, "annotations": map[string]string{name: value}}})
}

// patch changes a connection that is still the one that was read.
func patch(ctx context.Context, c client.Client, m *v1alpha1.MCPConnection, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	err = c.Patch(ctx, m.DeepCopy(), client.RawPatch(types.MergePatchType, body), client.FieldOwner(kube.FieldManager))
	if err != nil {
		return fmt.Errorf("change MCPConnection %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}
