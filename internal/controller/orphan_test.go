package controller

import (
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// orphans is one look of the OrphanReconciler at a credential Secret, and when it wants the next.
func (w *world) orphans(key client.ObjectKey) time.Duration {
	w.t.Helper()
	result, err := (&OrphanReconciler{Reconciler: w.r}).Reconcile(ctrl.LoggerInto(w.t.Context(), w.log.logger()), ctrl.Request{NamespacedName: key})
	w.must(err)
	return result.RequeueAfter
}

// vanish removes the connection past its finalizer, as somebody in a hurry does.
func (w *world) vanish() {
	w.t.Helper()
	conn := w.get()
	before := conn.DeepCopy()
	conn.Finalizers = nil
	w.must(api.Patch(w.t.Context(), conn, client.MergeFrom(before)))
	w.must(api.Delete(w.t.Context(), conn))
	if w.get() != nil {
		w.t.Fatal("the object is still there")
	}
}

// credentialSecret is the Secret itself; nil if there is none.
func (w *world) credentialSecret(uid types.UID) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	if err := api.Get(w.t.Context(), credentialKey(uid), secret); err != nil {
		w.must(client.IgnoreNotFound(err))
		return nil
	}
	return secret
}

// spoil edits the credential Secret behind the operator's back.
func (w *world) spoil(change func(*corev1.Secret)) *corev1.Secret {
	w.t.Helper()
	secret := w.credentialSecret(w.get().UID)
	change(secret)
	w.must(api.Update(w.t.Context(), secret))
	return secret
}

func corrupt(s *corev1.Secret) { s.Data["grants"] = []byte(`[{"refreshToken":`) }

func newer(s *corev1.Secret) { s.Data["format"] = []byte("99") }

func foreign(s *corev1.Secret) { s.Annotations[credential.AnnotationUID] = "another" }

func TestACredentialWhoseConnectionVanishedIsRevokedAndDeletedAfterADay(t *testing.T) {
	w := connected(t)
	uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
	w.vanish()
	if wait := w.orphans(credentialKey(uid)); wait != orphanLifetime {
		t.Errorf("the next look is after %s, want a day", wait)
	}
	since := w.clock.Now().UTC().Format(time.RFC3339)
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime - time.Second))
	w.restart()
	if wait := w.orphans(credentialKey(uid)); wait != time.Second {
		t.Errorf("a second before its time the next look is after %s", wait)
	}
	held := w.credentialSecret(uid)
	if held == nil || held.Annotations[annotationOrphanedSince] != since || w.server.Count(oauthtest.RevokePath) != 0 || w.server.Grants()[0].Revoked {
		t.Fatal("before the day is over it is not marked with the first look, or something was ended")
	}
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	if wait := w.orphans(credentialKey(uid)); wait != 0 || w.credentialSecret(uid) != nil {
		t.Error("the Secret is left")
	}
	if !w.server.Grants()[0].Revoked || w.server.ValidAccessToken(token) {
		t.Error("the grant was not revoked")
	}
	if w.orphans(credentialKey(uid)) != 0 || w.server.Count(oauthtest.RevokePath) != 2 {
		t.Error("a look at what is gone asks for another, or a token was revoked twice")
	}
}

func TestACredentialWhoseServerIsDownIsDeletedAllTheSame(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.vanish()
	w.orphans(credentialKey(uid))
	w.server.Close()
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	w.orphans(credentialKey(uid))
	if w.credentialSecret(uid) != nil {
		t.Error("a server that is gone keeps the Secret for ever")
	}
}

func TestACredentialWhoseNameWasTakenByAnotherConnectionIsAnOrphan(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.vanish()
	w.apply()
	w.orphans(credentialKey(uid))
	w.orphans(credentialKey(w.get().UID))
	if w.credentialSecret(uid).Annotations[annotationOrphanedSince] == "" {
		t.Error("the Secret of the connection that vanished is not marked")
	}
	if w.credentialSecret(w.get().UID).Annotations[annotationOrphanedSince] != "" {
		t.Error("that of the new connection is marked")
	}
}

func TestACredentialWhoseConnectionExistsIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*corev1.Secret){
		"as it is":              func(*corev1.Secret) {},
		"corrupt":               corrupt,
		"of nobody":             func(s *corev1.Secret) { s.Annotations = nil },
		"of another connection": foreign,
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			before := w.spoil(change)
			for range 2 {
				if wait := w.orphans(client.ObjectKeyFromObject(before)); wait != 0 {
					t.Errorf("the next look is after %s", wait)
				}
				w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
			}
			if after := w.credentialSecret(w.get().UID); !equality.Semantic.DeepEqual(before, after) || w.server.Grants()[0].Revoked {
				t.Error("the Secret was written or deleted, or the grant revoked")
			}
		})
	}
}

func TestAMarkGoesWhenTheConnectionIsSeenAgain(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.spoil(func(s *corev1.Secret) {
		s.Annotations[annotationOrphanedSince], s.Annotations[annotationReplacedBy] = "2001-02-03T04:05:06Z", "another"
	})
	w.orphans(credentialKey(uid))
	a := w.credentialSecret(uid).Annotations
	if _, marked := a[annotationOrphanedSince]; marked || a[annotationReplacedBy] != "" || w.server.Grants()[0].Revoked {
		t.Fatalf("the marks are left, or the grant was revoked: %v", a)
	}
	w.vanish()
	if wait := w.orphans(credentialKey(uid)); wait != orphanLifetime || w.credentialSecret(uid) == nil {
		t.Errorf("after it vanished the next look is after %s", wait)
	}
}

func TestACredentialWhoseConnectionWasMadeAnewIsNeitherRevokedNorUsedAndGoesAfterThirtyDays(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.vanish()
	w.orphans(credentialKey(uid))
	w.apply() // as a restore does
	marked := w.clock.Now()
	for w.clock.Now().Before(marked.Add(replacedLifetime)) {
		wait := w.orphans(credentialKey(uid))
		a := w.credentialSecret(uid).Annotations
		if w.server.Grants()[0].Revoked || a[annotationOrphanedSince] == "" || a[annotationReplacedBy] != string(w.get().UID) || w.r.orphaned.states[credential.SecretName(uid)] != stateReplaced {
			t.Fatalf("%s after the restore it is revoked, not marked or not counted: %v", w.clock.Now().Sub(marked), a)
		}
		if wait <= 0 || wait > orphanLifetime {
			t.Fatalf("the next look is after %s", wait)
		}
		w.clock.SetTime(w.clock.Now().Add(wait))
	}
	w.orphans(credentialKey(uid))
	if w.credentialSecret(uid) != nil || w.server.Count(oauthtest.RevokePath) != 0 {
		t.Error("after thirty days the Secret is left, or something was revoked")
	}
	w.orphans(credentialKey(uid))
	if w.r.orphaned.states[credential.SecretName(uid)] != "" || w.credentialSecret(w.get().UID) == nil {
		t.Error("it is still counted, or the credential of the new connection went")
	}
}

func TestACredentialWhoseNameBecomesFreeAgainHasADay(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.vanish()
	w.apply()
	w.orphans(credentialKey(uid))
	w.clock.SetTime(w.clock.Now().Add(10 * 24 * time.Hour))
	w.vanish()
	if wait := w.orphans(credentialKey(uid)); wait != orphanLifetime || w.credentialSecret(uid) == nil || w.server.Grants()[0].Revoked {
		t.Fatalf("it was ended at once, or the next look is after %s", wait)
	}
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	w.orphans(credentialKey(uid))
	if w.credentialSecret(uid) != nil || !w.server.Grants()[0].Revoked {
		t.Error("a day later it is left")
	}
}

func TestAVanishedConnectionsDeletionPolicyIsHonoured(t *testing.T) {
	for name, change := range map[string]func(*world){
		"from the beginning": func(w *world) {
			w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
			w.consent()
		},
		"edited later": func(w *world) {
			w.apply()
			w.consent()
			w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		},
		"edited while suspended": func(w *world) {
			w.apply()
			w.consent()
			w.edit(func(c *v1alpha1.MCPConnection) {
				c.Spec.Suspend, c.Spec.DeletionPolicy = ptr.To(true), v1alpha1.DeletionPolicyOrphan
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, managing)
			change(w)
			uid := w.get().UID
			w.vanish()
			w.orphans(credentialKey(uid))
			w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
			w.restart()
			w.orphans(credentialKey(uid))
			if w.credentialSecret(uid) != nil || w.server.Grants()[0].Revoked || len(w.server.Clients()) != 1 {
				t.Error("the Secret is left, or something was ended at the server")
			}
		})
	}
}

// A copy has the annotations of the original, and an older mark.
func TestACopyOfACredentialEndsNothing(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	original := w.credentialSecret(uid)
	w.vanish()
	copied := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: original.Name + "-copy", Labels: original.Labels,
		Annotations: maps.Clone(original.Annotations)}, Data: original.Data}
	copied.Annotations[annotationOrphanedSince] = "2001-02-03T04:05:06Z"
	w.must(api.Create(t.Context(), copied))
	w.orphans(client.ObjectKeyFromObject(copied))
	if w.credentialSecret(uid) == nil || w.server.Grants()[0].Revoked || !w.has(client.ObjectKeyFromObject(copied)) {
		t.Error("the copy ended the original, or was deleted")
	}
}

func TestAnOrphanThatCannotBeReadGoesIfItIsCorrupt(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*corev1.Secret)
		stays bool
	}{
		"corrupt":           {spoil: corrupt},
		"of a newer format": {spoil: newer, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			uid := w.get().UID
			w.spoil(test.spoil)
			w.vanish()
			w.orphans(credentialKey(uid))
			w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
			w.orphans(credentialKey(uid))
			if stays := w.credentialSecret(uid) != nil; stays != test.stays {
				t.Errorf("it stays: %t", stays)
			}
		})
	}
}

func TestACredentialThatCannotBeUsedIsNeverWrittenAndNeverHoldsUpADeletion(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(*corev1.Secret)
		policy v1alpha1.DeletionPolicy
		stays  bool
	}{
		"corrupt":                             {spoil: corrupt},
		"corrupt, and nothing is to be ended": {spoil: corrupt, policy: v1alpha1.DeletionPolicyOrphan},
		"of a newer format":                   {spoil: newer, stays: true},
		"of another connection":               {spoil: foreign, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = test.policy })
			w.consent()
			uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
			before := w.spoil(test.spoil)
			w.annotate(v1alpha1.AnnotationRefresh, "now")
			w.annotate(v1alpha1.AnnotationReauthorize, "now")
			w.want(authorized, isFalse, v1alpha1.ReasonCredentialUnreadable)
			w.want(ready, isTrue, v1alpha1.ReasonCredentialUnreadable)
			w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
			w.restart()
			w.reconcile()
			w.want(ready, isFalse, v1alpha1.ReasonCredentialUnreadable)
			w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonCredentialUnreadable)
			if w.secret()[v1alpha1.KeyAccessToken] != token || !equality.Semantic.DeepEqual(before, w.credentialSecret(uid)) {
				t.Fatal("a Secret was written")
			}
			for len(w.events.Events) > 0 {
				<-w.events.Events
			}
			w.must(api.Delete(t.Context(), w.get()))
			if w.reconcile() != nil || w.has(w.inNamespace("c-token")) {
				t.Fatal("the object or the token Secret is left")
			}
			after := w.credentialSecret(uid)
			if (after != nil) != test.stays || (test.stays && !equality.Semantic.DeepEqual(before, after)) {
				t.Errorf("the credential Secret is left: %t, want %t as it was", after != nil, test.stays)
			}
			if wants := test.policy != v1alpha1.DeletionPolicyOrphan; (len(w.events.Events) == 1) != wants || (wants && !strings.Contains(<-w.events.Events, "RevocationFailed")) {
				t.Error("nobody is told that the grant lives on, or it was to")
			}
		})
	}
}
