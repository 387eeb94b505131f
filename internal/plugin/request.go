package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
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

// refreshed reports whether another token is in the Secret.
func refreshed(before, now *v1alpha1.MCPConnection) (bool, error) {
	version := func(m *v1alpha1.MCPConnection) string {
		if m.Status.Token == nil {
			return ""
		}
		return m.Status.Token.SecretResourceVersion
	}
	switch failure := now.Status.Failure; {
	case version(now) != version(before) && view.Known(now) && view.Ready(now) && failure == nil:
		return true, nil
	case failure != nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s was not refreshed: %s", now.Namespace, now.Name, view.Plain(failure.Message))
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

// linked reports whether there is a link, or none is needed.
func linked(_, now *v1alpha1.MCPConnection) (bool, error) {
	if now.Status.AuthorizationURL == "" && !view.Ready(now) {
		return false, hopeless(now)
	}
	return view.Known(now), nil
}

func revokeCommand(f *kube.Factory) *cobra.Command {
	yes := false
	r := &request{
		annotation: v1alpha1.AnnotationRevoke,
		handled:    func(h *v1alpha1.LastHandled) string { return h.Revoke },
		done:       revoked,
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
	switch failure := now.Status.Failure; {
	case failure != nil && failure.Step == "revoke" && failure.RetryAt == nil:
		return false, kube.Exit(kube.ExitFailed, "%s/%s: %s", now.Namespace, now.Name, view.Plain(failure.Message))
	case failure != nil && failure.Step == "revoke", !view.Known(now):
		return false, nil
	}
	return view.Suspended(now) || !view.Ready(now) || now.Status.AuthorizationServer == nil, nil
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
		m.Namespace, m.Name, where, m.Spec.ServerURL)
	answer, err := bufio.NewReader(f.In).ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(f.ErrOut)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return kube.Exit(kube.ExitFailed, "nothing was revoked")
	}
	return nil
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
	value := stamp(f)
	if err := annotate(ctx, c, before, r.annotation, value); err != nil {
		return kube.Explain(err)
	}
	if !r.wait {
		_, err := fmt.Fprintf(f.Out, "%s/%s: asked for\n", before.Namespace, before.Name)
		return err
	}
	p, m := &progress{f: f}, before
	err = f.Follow(ctx, c, before, func(seen *v1alpha1.MCPConnection) (bool, error) {
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
	return r.end(f, m, value, err)
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
