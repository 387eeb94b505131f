package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// refreshLead is how long before its expiry every token is refreshed.
	refreshLead = time.Minute
	// settleTime is how long the operator is left alone after a start.
	settleTime = 10 * time.Second
)

// bench is one run of the operator on a fresh API server.
type bench struct {
	settings
	cluster  *cluster
	server   *authServer
	operator *harness.Operator
	report   *report
}

// samples are objects as the operator leaves them; the floor writes copies of them.
type samples struct {
	connection *v1alpha1.MCPConnection
	credential *corev1.Secret
	token      *corev1.Secret
}

// startBench starts an API server with the operator, and the servers that it will ask.
func startBench(ctx context.Context, s settings, r *report) (_ *bench, err error) {
	b := &bench{settings: s, report: r}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.server, err = newAuthServer(s.n, s.servers); err != nil {
		return nil, err
	}
	if b.cluster, err = startCluster(ctx, s); err != nil {
		return nil, err
	}
	metrics, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	b.operator, err = harness.StartOperator(ctx, b.cluster.ControlPlane, "--metrics-bind-address="+metrics,
		"--trusted-proxy-cidrs=127.0.0.0/8")
	return b, err
}

func (b *bench) stop() {
	if b.operator != nil {
		b.operator.Kill()
	}
	if b.cluster != nil {
		b.cluster.stop()
	}
	if b.server != nil {
		b.server.stop()
	}
}

// usage is the CPU time of the operator and the control plane so far.
func (b *bench) usage() usage {
	pids := maps.Clone(b.cluster.pids)
	pids[processOperator] = b.operator.PID()
	return usageOf(pids)
}

// base notes what the operator needs without a connection.
func (b *bench) base(ctx context.Context) (err error) {
	if err = harness.Pause(ctx, settleTime); err != nil {
		return err
	}
	b.report.Memory.BaseMiB, err = rssAnon(b.operator.PID())
	return err
}

// plan has every token refreshed on request, once, so that from now on the authorization server decides when the steady
// phase begins.
func (b *bench) plan(ctx context.Context) error {
	harness.Stderr("planning the steady phase")
	// A refresh takes less than a provision, whatever else the machine does.
	limit := max(time.Duration(b.n)*50*time.Millisecond,
		time.Duration(b.report.Provision.Seconds*float64(time.Second))) + 20*time.Second
	b.report.Refresh.steadyFrom = time.Now().Add(limit + b.rest + 2*settleTime + 20*time.Second).Truncate(time.Second)
	b.server.setExpiry(b.steadyExpiry)
	err := parallel(ctx, b.n, 8, func(ctx context.Context, i int) error {
		patch := client.RawPatch("application/merge-patch+json",
			[]byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationRefresh+`":"1"}}}`))
		conn := &v1alpha1.MCPConnection{}
		conn.Namespace, conn.Name = b.namespace(i), connectionName(i)
		return b.cluster.api.Patch(ctx, conn, patch)
	})
	if err != nil {
		return err
	}
	return b.await(ctx, time.Now().Add(limit))
}

// steadyExpiry spreads the refreshes of the steady phase evenly.
func (b *bench) steadyExpiry(i int, _ time.Time) time.Time {
	return b.report.Refresh.steadyFrom.Add(time.Duration(i) * time.Second / time.Duration(b.rate)).Add(refreshLead)
}

// await waits until the status of every connection names a refresh in the steady phase.
func (b *bench) await(ctx context.Context, deadline time.Time) error {
	from := b.report.Refresh.steadyFrom
	until := from.Add(time.Duration(b.n)*time.Second/time.Duration(b.rate) + 5*time.Second)
	for {
		all, err := b.connections(ctx)
		if err != nil {
			return err
		}
		planned := 0
		for i := range all {
			t := all[i].Status.Token
			if t != nil && t.RefreshAt != nil && !t.RefreshAt.Time.Before(from) && t.RefreshAt.Time.Before(until) {
				planned++
			}
		}
		switch {
		case planned == b.n:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d connections were not refreshed in time", b.n-planned, b.n)
		}
		if err := harness.Pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

func (b *bench) connections(ctx context.Context) ([]v1alpha1.MCPConnection, error) {
	list := &v1alpha1.MCPConnectionList{}
	if err := b.cluster.api.List(ctx, list); err != nil {
		return nil, err
	}
	if len(list.Items) != b.n {
		return nil, fmt.Errorf("there are %d connections, not %d", len(list.Items), b.n)
	}
	return list.Items, nil
}

// atRest watches an operator that has nothing to do.
func (b *bench) atRest(ctx context.Context) error {
	harness.Stderr("at rest for %s", b.rest)
	if err := harness.Pause(ctx, settleTime); err != nil {
		return err
	}
	from, before := time.Now(), b.usage()
	if err := harness.Pause(ctx, time.Until(from.Add(b.rest))); err != nil {
		return err
	}
	seen, err := b.cluster.audit.between(from, time.Now())
	if err != nil {
		return err
	}
	b.report.Rest = restFigures{Seconds: b.rest.Seconds(), Requests: seen.counts(), CPU: b.usage().since(before, 1)}
	b.report.Memory.RestMiB, err = rssAnon(b.operator.PID())
	return err
}

// restart kills the operator while nothing is due, and looks at what it reads when it comes back.
func (b *bench) restart(ctx context.Context) error {
	harness.Stderr("kill -9, and a new start")
	b.operator.Kill()
	from := time.Now()
	if err := b.operator.Start(ctx); err != nil {
		return err
	}
	ready := time.Since(from)
	if err := harness.Pause(ctx, settleTime); err != nil {
		return err
	}
	seen, err := b.cluster.audit.between(from, time.Now())
	if err != nil {
		return err
	}
	b.report.Restart = restartFigures{ReadySeconds: ready.Seconds(), BusySeconds: seen.span().Seconds(),
		Requests: seen.counts()}
	if b.report.Memory.RestartMiB, err = rssAnon(b.operator.PID()); err != nil {
		return err
	}
	if b.report.Restart.Secrets, err = copiesInMemory(b.operator.PID(), secretPrefix); err != nil {
		harness.Stderr("looking for tokens in the operator's memory: %v", err)
		b.report.Restart.Secrets = -1
	}
	return nil
}

// samples reads what the operator wrote for the first connection.
func (b *bench) samples(ctx context.Context) (*samples, error) {
	s := &samples{connection: &v1alpha1.MCPConnection{}, credential: &corev1.Secret{}, token: &corev1.Secret{}}
	if err := b.cluster.api.Get(ctx, client.ObjectKey{Namespace: b.namespace(0), Name: connectionName(0)},
		s.connection); err != nil {
		return nil, err
	}
	if s.connection.Status.Token == nil {
		return nil, errors.New("the first connection has no token")
	}
	return s, errors.Join(
		b.cluster.api.Get(ctx, client.ObjectKey{Namespace: harness.OperatorNamespace,
			Name: credential.SecretName(s.connection.UID)}, s.credential),
		b.cluster.api.Get(ctx, client.ObjectKey{Namespace: s.connection.Namespace,
			Name: s.connection.Status.Token.SecretName}, s.token))
}
