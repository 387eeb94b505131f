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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/discovery"
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
	// check, if not nil, may find afterwards that it was not done after all; told are the events before the request, and
	// err is why they could not be read.
	check func(ctx context.Context, f *kube.Factory, c client.Reader, now *v1alpha1.MCPConnection, told []corev1.Event,
		err error) error
	// steps are those whose failure is why it is not done; Ready may speak of something else.
	steps []string
	// conclude is what is said then.
	conclude func(f *kube.Factory, m *v1alpha1.MCPConnection) string

	wait    bool
	timeout time.Duration
	// value of the annotation that is waited for.
	value string
}

// addWait adds the flags of a verb that asks for something.
func (r *request) addWait(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&r.wait, "wait", true, "wait until the operator has done it and says whether the "+
		"connection is Ready")
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

// secretVersion is that of the token Secret that the operator wrote last.
func secretVersion(m *v1alpha1.MCPConnection) string {
	if m.Status.Token == nil {
		return ""
	}
	return m.Status.Token.SecretResourceVersion
}

// refreshable reports whether the operator knows when it will refresh the token.
func refreshable(m *v1alpha1.MCPConnection) bool {
	return m.Status.Token != nil && m.Status.Token.RefreshAt != nil
}

// refreshed reports whether another token is in the Secret.
func refreshed(before, now *v1alpha1.MCPConnection) (bool, error) {
	switch failure := failing(now, "refresh", "requestToken"); {
	case failure != nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s was not refreshed: %s", now.Namespace, now.Name,
			view.Plain(failure.Message))
	case secretVersion(now) != secretVersion(before) && view.Known(now) && view.Ready(now):
		return true, nil
	case !refreshable(now) && refreshable(before):
		return false, kube.Exit(kube.ExitFailed, "%s/%s was not refreshed, and will not be; %s", now.Namespace, now.Name,
			why(now))
	case !refreshable(now):
		return false, kube.Exit(kube.ExitFailed, "%s/%s has nothing to refresh, so nothing was done; %s", now.Namespace,
			now.Name, why(now))
	}
	return false, nil
}

func reauthorizeCommand(f *kube.Factory) *cobra.Command {
	r := &request{
		annotation: v1alpha1.AnnotationReauthorize,
		handled:    func(h *v1alpha1.LastHandled) string { return h.Reauthorize },
		done:       linked,
		conclude: func(_ *kube.Factory, m *v1alpha1.MCPConnection) string {
			switch {
			case public(m):
				return "needs no authorization"
			case m.Status.AuthorizationURL == "":
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
		return false, kube.Exit(kube.ExitFailed, "%s/%s has no link: %s", now.Namespace, now.Name,
			view.Plain(failure.Message))
	case hopeless(now) != nil:
		return false, hopeless(now)
	}
	return (discovery.NonInteractive(&now.Spec) || public(now)) && view.Known(now) && view.Ready(now), nil
}

// public reports whether the server needs no authorization.
func public(m *v1alpha1.MCPConnection) bool {
	c := view.Condition(m, v1alpha1.ConditionAuthorized)
	return c != nil && c.Reason == v1alpha1.ReasonAuthorizationNotRequired
}

// run makes a request, and waits until it is done.
func (r *request) run(ctx context.Context, f *kube.Factory, name string,
	sure func(*v1alpha1.MCPConnection) error) error {
	c, before, err := f.Connection(ctx, name)
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
	told, untold := []corev1.Event(nil), error(nil)
	if r.check != nil && r.wait {
		told, untold = events(ctx, c, before)
	}
	r.value = stamp(f)
	if err := annotate(ctx, c, before, r.annotation, r.value); err != nil {
		return kube.Explain(err)
	}
	if !r.wait {
		_, err := fmt.Fprintf(f.Out, "%s/%s: asked for\n", before.Namespace, before.Name)
		return err
	}
	m, err := r.follow(ctx, f, c, before)
	if err == nil && r.check != nil {
		err = r.check(ctx, f, c, m, told, untold)
	}
	return r.end(f, m, err)
}

// follow waits until the request is done, or another that took its place, and returns the connection as it was seen
// last.
func (r *request) follow(ctx context.Context, f *kube.Factory, c client.Reader,
	before *v1alpha1.MCPConnection) (*v1alpha1.MCPConnection, error) {
	p, m := &progress{f: f}, before
	err := f.Follow(ctx, c, before, func(seen *v1alpha1.MCPConnection) (bool, error) {
		m = seen
		if seen.DeletionTimestamp != nil {
			return false, hopeless(seen)
		}
		if h := seen.Status.LastHandled; h == nil || r.handled(h) != r.value {
			return false, r.yield(p, seen)
		}
		p.tell(seen)
		return r.done(before, seen)
	}, p.lost)
	return m, err
}

// yield goes on with the request that stands in the place of the one that was made.
func (r *request) yield(p *progress, m *v1alpha1.MCPConnection) error {
	switch value := m.Annotations[r.annotation]; value {
	case r.value:
	case "":
		return kube.Exit(kube.ExitFailed, "%s/%s: somebody took the annotation %s off before the operator acted on "+
			"it: ask again", m.Namespace, m.Name, r.annotation)
	default:
		r.value = value
		p.say("somebody asked for the same meanwhile, and that request is waited for")
	}
	return nil
}

// end says how a request ended.
func (r *request) end(f *kube.Factory, m *v1alpha1.MCPConnection, err error) error {
	var exit *kube.ExitError
	late := errors.As(err, &exit) && exit.Code == kube.ExitTimedOut
	failure := failing(m, r.steps...)
	switch {
	case late && (m.Status.LastHandled == nil || r.handled(m.Status.LastHandled) != r.value):
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w, and the operator has not acted on the request: does it run, and "+
			"serve this namespace?", m.Namespace, m.Name, err)
	case late && failure != nil:
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w; %s", m.Namespace, m.Name, err, view.Plain(failure.Message))
	case late:
		return kube.Exit(kube.ExitTimedOut, "%s/%s: %w; %s", m.Namespace, m.Name, err, why(m))
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(f.Out, "%s/%s %s\n", m.Namespace, m.Name, r.conclude(f, m))
	return err
}

// stamp is a value that no request had before.
func stamp(f *kube.Factory) string { return f.Now().UTC().Format(time.RFC3339Nano) }

// annotate sets an annotation, as the plugin's own field manager, and notes it in what was read.
func annotate(ctx context.Context, c client.Client, m *v1alpha1.MCPConnection, name, value string) error {
	err := patch(ctx, c, m, map[string]any{"metadata": map[string]any{"uid": m.UID,
		"annotations": map[string]string{name: value}}})
	if err == nil {
		metav1.SetMetaDataAnnotation(&m.ObjectMeta, name, value)
	}
	return err
}

// patch changes a connection that is still the one that was read.
func patch(ctx context.Context, c client.Client, m *v1alpha1.MCPConnection, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	err = c.Patch(ctx, m.DeepCopy(), client.RawPatch(types.MergePatchType, body), client.FieldOwner(kube.FieldManager))
	switch {
	case err != nil && ctx.Err() != nil:
		return kube.Ended(ctx)
	case err != nil:
		return fmt.Errorf("change MCPConnection %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}
