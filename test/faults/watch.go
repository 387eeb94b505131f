package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// consumer mounts all token Secrets, and judges every version of them that it sees.
type consumer struct {
	w *world
	// seen is the last token of each connection.
	seen map[string]*issue
}

// run looks until ctx ends; when the API server comes back it goes on from what is there then.
func (c *consumer) run(ctx context.Context) {
	c.seen = map[string]*issue{}
	for ctx.Err() == nil {
		if c.look(ctx) != nil && harness.Pause(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}

func (c *consumer) look(ctx context.Context) error {
	list := &corev1.SecretList{}
	ours := client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}
	if err := c.w.api.List(ctx, list, ours); err != nil {
		return err
	}
	there := map[string]bool{}
	for i := range list.Items {
		c.judge(&list.Items[i])
		there[list.Items[i].Name] = true
	}
	for name := range c.seen {
		if !there[name] {
			c.gone(name)
		}
	}
	changes, err := c.w.api.Watch(ctx, &corev1.SecretList{}, ours,
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer changes.Stop()
	for e := range changes.ResultChan() {
		secret, ok := e.Object.(*corev1.Secret)
		switch {
		case !ok:
			return nil // the watch is to begin anew
		case e.Type == watch.Deleted:
			c.gone(secret.Name)
		default:
			c.judge(secret)
		}
	}
	return nil
}

// judge looks at one version of a token Secret.
func (c *consumer) judge(secret *corev1.Secret) {
	token := string(secret.Data[v1alpha1.KeyAccessToken])
	if token == "" {
		c.gone(secret.Name)
		return
	}
	i, connection := c.w.ledger.issued(token)
	t := c.w.table
	switch before := c.seen[secret.Name]; {
	case i == nil:
		t.broken(&t.wrong, "%s holds a token that nobody issued", secret.Name)
		return
	case tokenSecretOf(connection) != secret.Name:
		t.broken(&t.wrong, "%s holds a token of connection %d", secret.Name, connection)
	case before != nil && i.serial < before.serial:
		t.broken(&t.wrong, "%s holds token %d after token %d", secret.Name, i.serial, before.serial)
	}
	c.seen[secret.Name] = i
}

// gone notes that a token is not published any more.
func (c *consumer) gone(name string) {
	if i := c.seen[name]; i != nil && c.w.ledger.valid(i) {
		c.w.table.broken(&c.w.table.removed, "%s lost a token that was valid", name)
	}
	delete(c.seen, name)
}

// issued finds what an access token belongs to.
func (l *ledger) issued(access string) (*issue, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.access[access]
	if i == nil {
		return nil, 0
	}
	return i, i.family.connection
}

func (l *ledger) valid(i *issue) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !i.family.revoked && l.now().Before(i.expires)
}
