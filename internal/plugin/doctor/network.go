package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// externalURL of the operator: its flag, else what the connection's status says; empty if neither is known.
func externalURL(o *Operator, conn *v1alpha1.MCPConnection) string {
	if from := o.flag("external-url"); from != "" && !o.doubtful() {
		return strings.TrimRight(from, "/")
	}
	if c := conn.Status.Client; c != nil {
		if base, found := strings.CutSuffix(c.RedirectURI, "/oauth/callback"); found {
			return base
		}
	}
	base, _, _ := strings.Cut(conn.Status.AuthorizationURL, "/connect/")
	return base
}

// callbackFinding asks the callback server for something that needs no link and changes nothing.
func callbackFinding(ctx context.Context, client *http.Client, external string, known bool) Finding {
	f := Finding{Title: "Callback, from outside"}
	u, err := url.Parse(external)
	switch {
	case external == "" && known:
		f.fail("The operator has no --external-url: nobody can consent. For a first token " +
			"`--external-url=http://localhost:8082` is enough: kubectl mcpc authorize forwards the port.")
		return f
	case external == "":
		f.skip("The operator's --external-url is not known.")
		return f
	case err != nil:
		f.fail("The operator's --external-url is no URL.")
		return f
	case mcpoauth.IsLoopback(u.Hostname()):
		f.note("%s is on loopback: people reach it through a forwarded port, as kubectl mcpc authorize does. Not asked.",
			shown(u))
		return f
	}
	location := external + "/oauth/client-metadata.json"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		f.fail("The operator's --external-url is no URL.")
		return f
	}
	e := Exchange{Method: http.MethodGet, URL: shownText(location)}
	resp, err := client.Do(req)
	if err != nil {
		f.Requests = []Exchange{e}
		f.warn("No answer from here; browsers of those who consent must get one. Check DNS, the Ingress and its certificate.")
		return f
	}
	defer func() { _ = resp.Body.Close() }()
	e.Status = mcpoauth.Sanitize(resp.Status, 80)
	f.Requests = []Exchange{e}
	var document struct {
		ClientID string `json:"client_id"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &document) != nil:
		f.warn("That is not the operator's answer: something else listens there, or a proxy does not let the path through.")
	case document.ClientID != location:
		f.fail("The operator that answers there has another --external-url: browsers would come back to the wrong one.")
	default:
		f.note("The operator answers.")
	}
	return f
}

// egressFinding tells of the flags and NetworkPolicies that limit what the operator calls.
func (o *Operator) egressFinding(ctx context.Context, c kubernetes.Interface, called []string) Finding {
	f := Finding{Title: "Egress rules"}
	if o.Deployment == nil {
		f.skip("Not seen: the operator's flags are not known.")
		return f
	}
	for _, name := range []string{"egress-allow-cidrs", "allow-insecure-http", "ca-file"} {
		if value := o.flag(name); value != "" {
			f.note("--%s=%s", name, mcpoauth.Sanitize(value, maxShown))
		}
	}
	if o.flag("egress-proxy-url") != "" {
		f.note("--egress-proxy-url is set: the operator calls public servers through a proxy, which this machine did not.")
	}
	if o.flag("ca-file") != "" {
		f.note("The file of --ca-file is in the operator's pod: give doctor a copy with its own --ca-file.")
	}
	if len(f.Notes) == 0 {
		f.note("No flag: public addresses only, by https.")
	}
	policies, err := c.NetworkingV1().NetworkPolicies(o.namespace()).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		f.note("You may not list NetworkPolicies in namespace %s.", o.namespace())
		return f
	case err != nil:
		f.warn("NetworkPolicies could not be listed: %s", oneLine(err.Error()))
		return f
	}
	limiting := slices.DeleteFunc(policies.Items, func(p networkingv1.NetworkPolicy) bool { return !o.limitedBy(&p) })
	if len(limiting) == 0 {
		f.note("No NetworkPolicy limits the operator's egress.")
		return f
	}
	var names []string
	for i := range limiting {
		names = append(names, limiting[i].Name)
	}
	f.note("NetworkPolicies that limit the operator's egress: %s.", strings.Join(names, ", "))
	for _, raw := range called {
		if port := portOf(raw); port > 0 && !slices.ContainsFunc(limiting,
			func(p networkingv1.NetworkPolicy) bool { return opens(&p, port) }) {
			f.warn("None of them opens the port of %s.", shownText(raw))
		}
	}
	return f
}

// limitedBy reports whether a policy is about what the operator's pods call.
func (o *Operator) limitedBy(p *networkingv1.NetworkPolicy) bool {
	selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	return err == nil && slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) &&
		selector.Matches(labels.Set(o.Deployment.Spec.Template.Labels))
}

// opens reports whether a policy lets TCP through to a port, of whatever address.
func opens(p *networkingv1.NetworkPolicy, port int) bool {
	return slices.ContainsFunc(p.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
		return len(rule.Ports) == 0 || slices.ContainsFunc(rule.Ports,
			func(np networkingv1.NetworkPolicyPort) bool { return covers(np, port) })
	})
}

func covers(np networkingv1.NetworkPolicyPort, port int) bool {
	switch {
	case np.Protocol != nil && *np.Protocol != "TCP":
		return false
	case np.Port == nil:
		return true
	case np.Port.Type == intstr.String:
		return false
	case np.EndPort != nil:
		return port >= np.Port.IntValue() && port <= int(*np.EndPort)
	}
	return np.Port.IntValue() == port
}

func portOf(raw string) int {
	_, text, err := net.SplitHostPort(mcpoauth.Host(raw))
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}

// metricsPath of a pod through the API server. No credential goes along, so it is answered only where metrics are open.
func metricsPath(namespace, pod, address string) (string, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("read --metrics-bind-address: %w", err)
	}
	return fmt.Sprintf("/api/v1/namespaces/%s/pods/https:%s:%s/proxy/metrics", namespace, pod, port), nil
}
