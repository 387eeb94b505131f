package plugin

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/forward"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
	"github.com/mcp-connection/operator/internal/reasons"
)

// operatorNamespace is where the manifests put the operator.
const operatorNamespace = "mcp-connection-system"

// lastPage is how long the port is forwarded after the outcome: the browser is still to load the page that tells it.
// The operator looks for the outcome five times a second.
const lastPage = 2 * time.Second

type authorizeOptions struct {
	noOpen, qr, noForward bool
	timeout               time.Duration
	target                forward.Target
}

func authorizeCommand(f *kube.Factory) *cobra.Command {
	o := &authorizeOptions{}
	cmd := &cobra.Command{
		Use:   "authorize NAME",
		Short: "Open the link for the consent and wait until it is Ready",
		Long: `Open the link for the consent in a browser, and wait until the connection is
Ready. Whoever opens the link binds their own account.

If the link leads to this machine (--external-url=http://localhost:8082, as
config/local has it), its port is forwarded to the operator meanwhile: that
wants the rights to list pods and to create pods/portforward in the operator's
namespace. A link that is replaced while waiting is opened again.

The link goes to standard output, all else to standard error. Exit codes: 0
Ready, 1 failed, 2 usage, 3 timed out, 4 denied.`,
		Example: `  kubectl mcpc authorize notion
  kubectl mcpc authorize notion -n agents --no-open --timeout 1h
  kubectl mcpc authorize notion --qr   # to open it with a telephone`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			ctx, cancel := kube.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			return o.run(ctx, f, arguments[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.noOpen, "no-open", false, "print the link and open no browser")
	flags.BoolVar(&o.qr, "qr", false, "print the link as a QR code too")
	flags.BoolVar(&o.noForward, "no-forward", false, "forward no port: the link's leads to the operator already")
	flags.StringVar(&o.target.Namespace, "operator-namespace", operatorNamespace,
		"namespace of the operator, to forward its port")
	flags.StringVar(&o.target.Service, "operator-service", "", "Service of the operator's pages; by default its pods "+
		"are found by their labels")
	addTimeout(cmd, &o.timeout, personsPatience)
	return cmd
}

// authorization is one run of authorize.
type authorization struct {
	*authorizeOptions
	f      *kube.Factory
	client client.Client
	progress
	// link that was shown last.
	link string
	// before is what Authorized said when the link was shown: an outcome that stands there already is of an earlier try.
	before  string
	forward bool
}

func (o *authorizeOptions) run(ctx context.Context, f *kube.Factory, name string) error {
	c, m, err := f.Connection(ctx, name)
	if err != nil {
		return err
	}
	a := &authorization{authorizeOptions: o, f: f, client: c, progress: progress{f: f}}
	if outcome(m) != nil && !pending(m) && !view.Suspended(m) && m.DeletionTimestamp == nil {
		a.request(ctx, m)
	}
	err = f.Follow(ctx, c, m, func(seen *v1alpha1.MCPConnection) (bool, error) {
		m = seen
		return a.see(ctx, seen)
	}, a.lost)
	err = concluded(f, m, err)
	if a.forward {
		select {
		case <-ctx.Done():
		case <-f.Clock.After(lastPage):
		}
	}
	return err
}

// request asks for a new link, because an outcome of an old one could not be told from that of the next try. Without
// the right to ask, the old one has to do.
func (a *authorization) request(ctx context.Context, m *v1alpha1.MCPConnection) {
	if annotate(ctx, a.client, m, v1alpha1.AnnotationReauthorize, stamp(a.f)) == nil {
		a.last = readiness(m)
		a.say("the last consent came to nothing; a new link is asked for")
	}
}

// see looks at the connection: it is done, it is hopeless, or there is a link to show.
func (a *authorization) see(ctx context.Context, m *v1alpha1.MCPConnection) (bool, error) {
	link := m.Status.AuthorizationURL
	switch {
	case pending(m):
		a.tell(m)
		return false, nil
	case consented(m):
		return true, nil
	case hopeless(m) != nil:
		return false, hopeless(m)
	case a.link != "" && authorized(m) != a.before && outcome(m) != nil:
		return false, outcome(m)
	}
	a.tell(m)
	if link == "" || link == a.link {
		return false, nil
	}
	if a.link != "" {
		a.say("the link was replaced; this is the new one")
	}
	a.link, a.before = link, authorized(m)
	return false, a.show(ctx, link)
}

// maxRequest is how long an annotation may be that the operator takes for a request, in bytes.
const maxRequest = 128

// pending reports whether a new link was asked for and may yet come; until then, what stands in status is of an earlier
// try.
func pending(m *v1alpha1.MCPConnection) bool {
	value, h := m.Annotations[v1alpha1.AnnotationReauthorize], m.Status.LastHandled
	if value == "" || len(value) > maxRequest || h != nil && h.Reauthorize == value {
		return false
	}
	return hopeless(m) == nil || !view.Suspended(m) && m.DeletionTimestamp == nil &&
		reasons.Is(view.Reason(m), reasons.FailsConsent)
}

// consented reports whether it is Ready by a grant that no consent is to replace.
func consented(m *v1alpha1.MCPConnection) bool {
	c := view.Condition(m, v1alpha1.ConditionAuthorized)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration >= m.Generation &&
		m.Status.AuthorizationURL == "" &&
		view.Known(m) && view.Ready(m) && !view.Suspended(m) && m.DeletionTimestamp == nil
}

// authorized is what the condition Authorized says.
func authorized(m *v1alpha1.MCPConnection) string {
	if c := view.Condition(m, v1alpha1.ConditionAuthorized); c != nil {
		return c.Reason + " " + c.Message
	}
	return ""
}

// outcome is an error if the last consent came to nothing.
func outcome(m *v1alpha1.MCPConnection) error {
	c := view.Condition(m, v1alpha1.ConditionAuthorized)
	if c == nil || c.Status != metav1.ConditionFalse || !reasons.Is(c.Reason, reasons.FailsConsent) {
		return denied(m)
	}
	return kube.Exit(kube.ExitFailed, "%s/%s: %s: %s", m.Namespace, m.Name, c.Reason, view.Plain(c.Message))
}

// show forwards the link's port where that is wanted, and opens the link.
func (a *authorization) show(ctx context.Context, link string) error {
	address, err := url.Parse(link)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return kube.Exit(kube.ExitFailed, "status.authorizationURL is no http or https URL, so it is not opened")
	}
	link = address.String() // what is not ASCII is escaped
	if forward.Wanted(address) && !a.noForward && !a.forward {
		if err := a.lead(ctx, address); err != nil {
			return err
		}
	}
	if a.qr {
		a.code(address)
	}
	if _, err := fmt.Fprintln(a.f.Out, link); err != nil {
		return err
	}
	if a.noOpen {
		a.say("open this link in a browser")
		return nil
	}
	a.say("opening this link in a browser")
	go func() {
		if err := openBrowser(link); err != nil {
			a.say("no browser could be opened: open the link by yourself")
		}
	}()
	return nil
}

// lead forwards the link's port.
func (a *authorization) lead(ctx context.Context, link *url.URL) error {
	config, err := a.f.RESTConfig()
	if err != nil {
		return err
	}
	f := &forward.Forwarder{Config: config, Client: a.client, Clock: a.f.Clock, Target: a.target, Say: a.say}
	if err := f.Start(ctx, link); err != nil {
		return err
	}
	a.forward = true
	a.say(fmt.Sprintf("%s leads to the operator in namespace %s, as long as this command runs", link.Host,
		a.target.Namespace))
	return nil
}

// code prints a QR code, but for a link that only this machine can follow.
func (a *authorization) code(link *url.URL) {
	if forward.Wanted(link) {
		a.say("no QR code: the link leads to this machine, where no telephone gets")
		return
	}
	text, err := qrCode(link.String())
	if err != nil {
		a.say("no QR code: " + err.Error())
		return
	}
	_, _ = fmt.Fprintln(a.f.ErrOut, text)
}
