package doctor

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Target is a connection and the cluster around it.
type Target struct {
	Config *rest.Config
	// Namespace that the operator is to serve.
	Namespace string
	// Connection in that namespace; nil: the cluster alone is looked at.
	Connection *v1alpha1.MCPConnection
	// OperatorNamespace is where the operator is; empty: it is searched for.
	OperatorNamespace string
	// Rules that differ from the operator's flags.
	Rules Rules
	Now   func() time.Time
}

// Examine makes the report. The error is one of the kubeconfig; what the API server says stands in the report.
func (t *Target) Examine(ctx context.Context) (*Report, error) {
	clocks := &dateReader{now: t.Now}
	config := rest.CopyConfig(t.Config)
	config.QPS, config.Burst = 50, 100 // some thirty small questions
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { clocks.next = next; return clocks })
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the cluster: %w", err)
	}
	operator, rules := FindOperator(ctx, c, t.Namespace, t.OperatorNamespace), t.Rules
	operator.apply(&rules)
	report := &Report{Subject: "Operator for namespace " + t.Namespace, Preface: preface}
	var called []string
	var server []clockReading
	if t.Connection != nil {
		if rules.ExternalURL == "" {
			rules.ExternalURL = externalURL(operator, t.Connection)
		}
		report.Subject = "MCPConnection " + t.Connection.Namespace + "/" + t.Connection.Name
		x := &Examination{Spec: *t.Connection.Spec.DeepCopy(), Rules: rules, Now: t.Now}
		if err := report.examine(ctx, x); err != nil {
			return nil, err
		}
		called, server = x.called(), x.clocks()
	}
	report.add(
		schemaFinding(ctx, c),
		operator.finding(t.Namespace),
		operator.rightsFinding(ctx, c, t.Namespace),
		operator.leaderFinding(ctx, c, clocks.serverTime()),
	)
	if t.Connection != nil {
		report.add(referencesFinding(ctx, config, t.Connection), statusFinding(t.Connection))
	}
	report.add(
		callbackFinding(ctx, browser(rules), rules.ExternalURL, operator.Deployment != nil),
		operator.egressFinding(ctx, c, called),
		clockFinding(append(clocks.readings(), server...)),
		operator.unsavedFinding(ctx, c),
	)
	return report, nil
}

// examine adds an examination to the report.
func (r *Report) examine(ctx context.Context, x *Examination) error {
	findings, advice, spec, err := x.Run(ctx)
	if err != nil {
		return err
	}
	r.add(findings...)
	r.Advice, r.Spec = advice, spec
	return nil
}

// called are the URLs that the operator calls for this connection, one of each host.
func (x *Examination) called() []string {
	urls := []string{x.Spec.ServerURL}
	for _, e := range x.seen {
		urls = append(urls, e.raw)
		if endpoint, is := e.document()["token_endpoint"].(string); is {
			urls = append(urls, endpoint)
		}
	}
	return compactHosts(urls)
}

// clocks is what the MCP server's Date says.
func (x *Examination) clocks() []clockReading {
	if len(x.seen) == 0 {
		return nil
	}
	reading, ok := readClock("MCP server", x.seen[0].header, x.seen[0].receivedAt)
	if !ok {
		return nil
	}
	return []clockReading{reading}
}
