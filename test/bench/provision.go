package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// creators is how many connections are created at a time, and walkers how many people consent at a time.
	creators = 8
	walkers  = 16
)

// provision creates all connections and consents to each link as soon as it is there. It ends when all are Ready, or
// one thing has failed.
func (b *bench) provision(ctx context.Context) error {
	harness.Stderr("provisioning %d connections", b.n)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+time.Duration(b.n)*200*time.Millisecond)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	links := make(chan string, 2*b.n) // a second one for every consent that is lost
	finished := make(chan error, 2)
	before := b.usage()
	begin := func(f func() error) {
		go func() {
			err := f()
			if err != nil {
				fail(err)
			}
			finished <- err
		}()
	}
	begin(func() error { return b.consents(ctx, links) })
	begin(func() error {
		return parallel(ctx, b.n, creators, func(ctx context.Context, i int) error {
			return b.cluster.api.Create(ctx, b.connection(i, b.server.mcpURL(i)))
		})
	})
	err := b.untilReady(ctx, links)
	close(links)
	if failed := errors.Join(<-finished, <-finished); failed != nil {
		err = errors.Join(failed, err)
	}
	if err != nil {
		return b.stuck(err)
	}
	took := time.Since(before.at)
	harness.Stderr("all are Ready after %s, and %d consents were lost", took.Round(time.Second), b.report.LostConsents)
	cpu := b.usage().since(before, b.n)
	if err := harness.Pause(ctx, 2*time.Second); err != nil { // Events come late
		return err
	}
	seen, err := b.cluster.audit.between(before.at, time.Now())
	b.report.Provision = phaseFigures{PerSecond: float64(b.n) / took.Seconds(), Seconds: took.Seconds(), CPU: cpu,
		Traffic: seen.traffic(b.n)}
	b.report.Outbound = map[string]float64{}
	for name, count := range b.server.requests() {
		b.report.Outbound[name] = float64(count) / float64(b.n)
	}
	return err
}

// watchConnections sees connections as any client would.
func (c *cluster) watchConnections(ctx context.Context) (watch.Interface, error) {
	return c.api.Watch(ctx, &v1alpha1.MCPConnectionList{}, &client.ListOptions{})
}

// untilReady hands out links, once each, and returns when all connections are Ready. A second link for a connection
// says that the consent given by the first was lost.
func (b *bench) untilReady(ctx context.Context, links chan<- string) error {
	observed, err := b.cluster.watchConnections(ctx)
	if err != nil {
		return err
	}
	defer func() { observed.Stop() }()
	offered, ready := map[string]string{}, map[string]bool{}
	for len(ready) < b.n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d connections were offered a link, %d became Ready, %d consents were lost: %w",
				len(offered), b.n, len(ready), b.report.LostConsents, context.Cause(ctx))
		case e, open := <-observed.ResultChan():
			if !open { // on a busy machine it may be too slow for the API server; a new one begins with all that there is
				again, err := b.cluster.watchConnections(ctx)
				if err != nil {
					return err
				}
				observed = again
				continue
			}
			if conn, ok := e.Object.(*v1alpha1.MCPConnection); ok {
				b.note(ctx, conn, offered, ready, links)
			}
		}
	}
	return nil
}

// note takes in how a connection stands.
func (b *bench) note(ctx context.Context, conn *v1alpha1.MCPConnection, offered map[string]string,
	ready map[string]bool, links chan<- string) {
	if link := conn.Status.AuthorizationURL; link != "" && link != offered[conn.Name] {
		if offered[conn.Name] != "" {
			b.report.LostConsents++
		}
		offered[conn.Name] = link
		select {
		case links <- link:
		case <-ctx.Done():
		}
	}
	if meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) {
		ready[conn.Name] = true
	}
}

// consents walks through links until there are no more.
func (b *bench) consents(ctx context.Context, links <-chan string) error {
	w := harness.NewWalker(walkers, 0)
	var browsers atomic.Uint32
	return parallel(ctx, walkers, walkers, func(ctx context.Context, _ int) error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case link, open := <-links:
				if !open {
					return nil
				}
				n := browsers.Add(1) // each in a browser of its own; nobody waits for the outcome page
				if err := w.Consent(ctx, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), link); err != nil {
					return fmt.Errorf("the consent at %s: %w", link, err)
				}
			}
		}
	})
}

// stuck adds what one unfinished connection says.
func (b *bench) stuck(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all, listErr := b.connections(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for i := range all {
		if !meta.IsStatusConditionTrue(all[i].Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("%w; %s: %s", err, all[i].Name, harness.Describe(&all[i]))
		}
	}
	return err
}
