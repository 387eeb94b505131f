package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/test/harness"
)

// disaster is one fault of the operator's surroundings.
type disaster struct {
	name   string
	strike func(context.Context) error
}

// alone are the disasters of a single replica.
func (w *world) alone() []disaster {
	var out []disaster
	for _, point := range points {
		out = append(out, disaster{"kill -9 " + point, func(ctx context.Context) error {
			_, err := w.fleet.arm(ctx, point, "KILL")
			return err
		}})
	}
	return append(out,
		disaster{"kill -9 at any time", w.killAnyTime},
		disaster{"SIGTERM", w.terminate},
		disaster{"API server stopped and started", w.stopAPIServer},
		disaster{"clock 10 min forward and back", func(ctx context.Context) error { return w.jump(ctx, 10*time.Minute) }},
		disaster{"clock 10 min back and forward", func(ctx context.Context) error { return w.jump(ctx, -10*time.Minute) }},
	)
}

// anywhere are the disasters that do not care how many replicas there are.
func (w *world) anywhere() []disaster {
	return []disaster{
		{"conflict storm of a second writer", w.storm},
		{"callbacks during refresh", w.callbacks},
		{"authorization servers down across expiry", w.stopServers},
	}
}

// together are the disasters of two replicas.
func (w *world) together() []disaster {
	var out []disaster
	for _, point := range []string{"after-claim", "after-send", "after-answer", "after-save"} {
		out = append(out, disaster{"leader frozen " + point, func(ctx context.Context) error {
			process, err := w.fleet.arm(ctx, point, "STOP")
			if err != nil {
				return err
			}
			return w.freeze(ctx, process)
		}})
	}
	return append(out,
		disaster{"leader frozen at any time", func(ctx context.Context) error { return w.freeze(ctx, w.ledger.leader()) }},
		disaster{"leader killed, another replica goes on", w.killAnyTime},
	)
}

// random is a time up to d.
func (w *world) random(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *world) killAnyTime(ctx context.Context) error {
	if err := harness.Pause(ctx, w.random(2*time.Second)); err != nil {
		return err
	}
	p := w.fleet.of(w.ledger.leader())
	if p == nil {
		return fmt.Errorf("no process leads")
	}
	p.signal(syscall.SIGKILL)
	return nil
}

// terminate stops the operator as Kubernetes does. Nothing may be left unsaved.
func (w *world) terminate(ctx context.Context) error {
	p := w.fleet.pods[0]
	if err := p.stop(60 * time.Second); err != nil {
		w.table.broken(&w.table.unclean, "%v", err)
	}
	w.fleet.run(ctx, p)
	return nil
}

func (w *world) stopAPIServer(ctx context.Context) error {
	if err := w.apiServer.down(ctx); err != nil {
		return err
	}
	if err := harness.Pause(ctx, 5*time.Second+w.random(5*time.Second)); err != nil {
		return err
	}
	if err := w.apiServer.up(); err != nil {
		return err
	}
	for range 60 {
		if _, err := w.connections(ctx); err == nil {
			return nil
		}
		if err := harness.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("the API server did not come back")
}

// storm writes to all Secrets of the operator, without a pause, so that its own writes meet conflicts.
func (w *world) storm(ctx context.Context) error {
	all, err := w.connections(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	var wait sync.WaitGroup
	for part := range 4 {
		wait.Go(func() {
			for n := part; ctx.Err() == nil; n += 4 {
				conn := &all[n%len(all)]
				held, token := &corev1.Secret{}, &corev1.Secret{}
				held.Namespace, held.Name = harness.OperatorNamespace, credential.SecretName(conn.UID)
				token.Namespace, token.Name = conn.Namespace, tokenSecretOf(numberOf(conn))
				for _, obj := range []client.Object{held, token, conn.DeepCopy()} {
					_ = w.annotate(ctx, obj, "example.com/storm", fmt.Sprint(n)) // it may be gone, or the time over
				}
			}
		})
	}
	wait.Wait()
	return nil
}

// callbacks has people consent anew while refreshes go on.
func (w *world) callbacks(ctx context.Context) error {
	all, err := w.connections(ctx)
	if err != nil {
		return err
	}
	value := fmt.Sprint(time.Now().UnixNano())
	w.rng.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
	for i := range all[:min(len(all), 10)] {
		w.people.ask(numberOf(&all[i]))
		if err := w.annotate(ctx, &all[i], v1alpha1.AnnotationReauthorize, value); err != nil {
			return err
		}
	}
	for range 240 { // refreshes that are due come first: a busy machine takes its time
		if w.people.asked() == 0 {
			return nil
		}
		if err := harness.Pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d consents that were asked for were not given", w.people.asked())
}

// stopServers takes the authorization servers away for longer than half of the tokens live.
func (w *world) stopServers(ctx context.Context) error {
	w.server.down()
	if err := harness.Pause(ctx, 14*time.Second+w.random(6*time.Second)); err != nil {
		return err
	}
	return w.server.up()
}

// jump sets the clock of the operator, and back.
func (w *world) jump(ctx context.Context, by time.Duration) error {
	w.ledger.setAhead(max(by, 0))
	defer w.ledger.setAhead(0)
	lasts := 10 * time.Second
	if w.quick {
		lasts = 5 * time.Second
	}
	for _, offset := range []time.Duration{by, 0} {
		w.ledger.setBehind(max(-offset, 0))
		if err := w.fleet.setClock(offset); err != nil {
			return err
		}
		if err := harness.Pause(ctx, lasts); err != nil {
			return err
		}
	}
	return nil
}

// freeze stops the leader for longer than another replica watches its claims, and lets it go on.
func (w *world) freeze(ctx context.Context, process string) error {
	p := w.fleet.of(process)
	if p == nil {
		return fmt.Errorf("%s is gone", process)
	}
	p.signal(syscall.SIGSTOP)
	p.setFrozen(true)
	defer func() {
		p.signal(syscall.SIGCONT)
		p.setFrozen(false)
	}()
	held, err := w.claimed(ctx, p)
	if err != nil {
		return err
	}
	for _, refresh := range held {
		w.ledger.doubt(refresh, process, takenOver)
	}
	end := time.Now().Add(55 * time.Second)
	meanwhile := w.meanwhile
	w.meanwhile = nil
	if err := w.each(ctx, meanwhile); err != nil {
		return err
	}
	return harness.Pause(ctx, time.Until(end))
}

func tokenSecretOf(i int) string { return fmt.Sprintf("c%03d-token", i) }

// leader is the process that asked last.
func (l *ledger) leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *ledger) setAhead(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = by
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refreshes
}

func (l *ledger) setBehind(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = by
}
