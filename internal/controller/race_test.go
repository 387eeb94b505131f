package controller

import (
	"context"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// racing is a client beside which somebody else is faster, once: between the decision to write and the write.
type racing struct {
	client.Client
	create, update, remove func()
}

// once runs what somebody does, if it was not run before.
func once(f *func()) {
	if run := *f; run != nil {
		*f = nil
		run()
	}
}

func (r *racing) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	once(&r.create)
	return r.Client.Create(ctx, o, options...)
}

func (r *racing) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	once(&r.update)
	return r.Client.Update(ctx, o, options...)
}

func (r *racing) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	once(&r.remove)
	return r.Client.Delete(ctx, o, options...)
}

// somebodysSecret is what must be found unchanged after every race.
var somebodysSecret = map[string]string{"password": "theirs"}

// somebodyCreates a Secret of the token Secret's name.
func (w *world) somebodyCreates() {
	w.t.Helper()
	w.must(api.Create(w.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}, StringData: somebodysSecret,
	}))
}

// somebodyReplaces the token Secret by one of their own.
func (w *world) somebodyReplaces() {
	w.t.Helper()
	w.must(api.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
	w.somebodyCreates()
}

// somebodyTakes the token Secret over: same object, other content, no mark of the operator.
func (w *world) somebodyTakes() {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.must(api.Get(w.t.Context(), w.inNamespace("c-token"), secret))
	secret.Labels, secret.Annotations, secret.OwnerReferences = nil, nil, nil
	secret.Data, secret.StringData = nil, somebodysSecret
	w.must(api.Update(w.t.Context(), secret))
}

// TestNoRaceOverwritesASecretThatIsNotOurs has somebody else be faster in each write of a token Secret.
func TestNoRaceOverwritesASecretThatIsNotOurs(t *testing.T) {
	for name, test := range map[string]struct {
		// race arms the client; the next write of its kind comes second.
		race func(*world, *racing)
		// write leads to that write.
		write func(*world)
		// gone says that the connection is deleted, and so has no conditions.
		gone bool
		// renamed says that the connection has another token Secret in the end, and so no conflict.
		renamed bool
	}{
		"created before the first token is published": {
			race:  func(w *world, r *racing) { r.create = w.somebodyCreates },
			write: func(w *world) { w.consent() },
		},
		"replaced before a refreshed token is published": {
			race:  func(w *world, r *racing) { w.consent(); r.update = w.somebodyReplaces },
			write: func(w *world) { w.untilRefresh(); w.reconcile() },
		},
		"taken over before a refreshed token is published": {
			race:  func(w *world, r *racing) { w.consent(); r.update = w.somebodyTakes },
			write: func(w *world) { w.untilRefresh(); w.reconcile() },
		},
		"created while a deleted one is put back": {
			race: func(w *world, r *racing) {
				w.consent()
				w.must(api.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
				r.create = w.somebodyCreates
			},
			write: func(w *world) { w.reconcile() },
		},
		"replaced before it is removed after a new name": {
			race: func(w *world, r *racing) { w.consent(); r.remove = w.somebodyReplaces },
			write: func(w *world) {
				w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"} })
			},
			renamed: true,
		},
		"replaced before it is removed with its connection": {
			race:  func(w *world, r *racing) { w.consent(); r.remove = w.somebodyReplaces },
			write: func(w *world) { w.must(api.Delete(w.t.Context(), w.get())); w.reconcile() },
			gone:  true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apply()
			r := &racing{Client: api}
			w.r.Secrets = r
			test.race(w, r)
			test.write(w)
			if r.create != nil || r.update != nil || r.remove != nil {
				t.Fatal("nobody wrote: there was no race")
			}
			w.reconcile()
			if got := w.secret(); !maps.Equal(got, somebodysSecret) {
				t.Errorf("somebody's Secret has %d keys now", len(got))
			}
			switch {
			case test.gone:
				if w.get() != nil {
					t.Error("the connection stays for a Secret that is not its own")
				}
				return
			case test.renamed:
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
				return
			}
			w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
			spent := w.server.Count(oauthtest.TokenPath)
			w.must(api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
			w.untilRetry()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.server.Count(oauthtest.TokenPath) != spent || !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
				t.Error("the token that could not be published was lost")
			}
		})
	}
}

func TestASecretOfAnotherKindOfTheSameNameIsNotAdopted(t *testing.T) {
	w, _ := waiting(t)
	w.must(api.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.key.Namespace, Name: "c-token",
			Labels:          map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "other.example.com/v1", Kind: "MCPConnection", Name: "gone", UID: "1", Controller: ptr.To(true)}},
		},
		StringData: somebodysSecret,
	}))
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
	if got := w.secret(); !maps.Equal(got, somebodysSecret) {
		t.Errorf("it has %d keys now", len(got))
	}
}

// TestNoReferenceReadsWhatTheOperatorKeeps has a connection beside the credential Secrets, whose author names one of them.
func TestNoReferenceReadsWhatTheOperatorKeeps(t *testing.T) {
	w := connected(t)
	kept := credentialKey(w.get().UID)
	if !w.has(kept) {
		t.Fatal("there is no credential Secret")
	}
	in := func(namespace string) *observed {
		return &observed{conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}}
	}
	if ref, err := w.r.reference(t.Context(), in(kept.Namespace), kept.Name, "spec.client.initialAccessTokenSecretRef"); ref != nil || err != nil {
		t.Errorf("it is read: %v", err)
	}
	if ref, err := w.r.reference(t.Context(), in(w.key.Namespace), "c-token", "spec.assertion.secretRef"); ref == nil || err != nil {
		t.Errorf("another Secret is not read: %v", err)
	}
}
