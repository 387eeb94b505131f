package controller

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// answers503 is a server that is down.
func answers503(rw http.ResponseWriter, _ *http.Request) {
	rw.WriteHeader(http.StatusServiceUnavailable)
}

// hangs has an endpoint answer too late: the clock shows that a whole try went by.
func (w *world) hangs(path string) {
	w.server.Handle(path, func(rw http.ResponseWriter, _ *http.Request) {
		w.lastTry = w.clock.Now()
		w.clock.SetTime(w.clock.Now().Add(sendBy))
		rw.WriteHeader(http.StatusGatewayTimeout)
	})
}

// oneLook is one look at the connection; it says when the next is wanted.
func (w *world) oneLook() time.Duration {
	w.t.Helper()
	result, err := w.r.Reconcile(ctrl.LoggerInto(w.t.Context(), w.log.logger()), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result.RequeueAfter
}

// untilGone looks at a deleted connection whenever that is wanted, and says how long it took to go.
func (w *world) untilGone(between func()) time.Duration {
	w.t.Helper()
	begun := w.clock.Now()
	for range 100 {
		wait := w.oneLook()
		conn := w.get()
		if conn == nil {
			return w.clock.Now().Sub(begun)
		}
		if wait <= 0 {
			w.t.Fatalf("nobody looks again, and the object is there: %+v", conn.Status.Failure)
		}
		for _, broken := range checkStatusLaws(conn, w.clock.Now()) {
			w.t.Error(broken)
		}
		if f := conn.Status.Failure; f == nil || f.Step != string(stepFinalize) || !strings.Contains(f.Message, "given up at ") {
			w.t.Fatalf("nothing says what holds it up: %+v", f)
		}
		w.clock.SetTime(w.clock.Now().Add(wait))
		between()
	}
	w.t.Fatal("it does not go")
	return 0
}

// revoked are the tokens that the server was asked to revoke, in order.
func (w *world) revoked() []string {
	var tokens []string
	for _, request := range w.server.Requests() {
		if request.Path == oauthtest.RevokePath {
			form, err := url.ParseQuery(request.Body)
			w.must(err)
			tokens = append(tokens, form.Get("token"))
		}
	}
	return tokens
}

func TestADeletionTakesTwoMinutesAtMost(t *testing.T) {
	for name, test := range map[string]struct {
		hinder  func(*world)
		between func(*world)
	}{
		"the revocation endpoint is down":         {hinder: func(w *world) { w.server.Handle(oauthtest.RevokePath, answers503) }},
		"the revocation endpoint hangs":           {hinder: func(w *world) { w.hangs(oauthtest.RevokePath) }},
		"the registration's endpoint is down":     {hinder: func(w *world) { w.server.Handle(w.managementPath(), answers503) }},
		"the registration's endpoint hangs":       {hinder: func(w *world) { w.hangs(w.managementPath()) }},
		"both hang":                               {hinder: func(w *world) { w.hangs(w.managementPath()); w.hangs(oauthtest.RevokePath) }},
		"it was suspended":                        {hinder: func(w *world) { w.suspend(); w.hangs(oauthtest.RevokePath) }},
		"the server wants to be asked in an hour": {hinder: func(w *world) { w.server.Handle(oauthtest.RevokePath, inAnHour) }},
		"the process restarts":                    {hinder: func(w *world) { w.hangs(oauthtest.RevokePath) }, between: func(w *world) { w.restart() }},
		"the process restarts and the status is emptied": {hinder: func(w *world) { w.hangs(oauthtest.RevokePath) }, between: func(w *world) {
			w.restart()
			conn := w.get()
			before := conn.DeepCopy()
			conn.Status = v1alpha1.MCPConnectionStatus{}
			w.must(api.Status().Patch(w.t.Context(), conn, client.MergeFrom(before)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t, expiring, managing)
			uid, g := w.get().UID, w.stored().Grants[0]
			test.hinder(w)
			w.must(api.Delete(t.Context(), w.get()))
			w.clock.SetTime(w.clock.Now().Add(time.Hour)) // nobody was there
			begun := w.clock.Now()
			took := w.untilGone(func() {
				if test.between != nil {
					test.between(w)
				}
			})
			// A try that begins late is cut short by its deadline, which this clock does not see.
			if took > finalizeWithin && (w.lastTry.Sub(begun) >= finalizeWithin || took > finalizeWithin+sendBy) {
				t.Errorf("it took %s", took)
			}
			if tokens := w.revoked(); !slices.Contains(tokens, g.RefreshToken) || !slices.Contains(tokens, g.AccessToken) {
				t.Error("a token was not tried")
			}
			if w.credentialSecret(uid) != nil || w.has(w.inNamespace("c-token")) {
				t.Error("a Secret is left")
			}
			if events := strings.Join(w.drainEvents(), "\n"); !strings.Contains(events, "RevocationFailed") && !strings.Contains(events, "UnregistrationFailed") {
				t.Error("nobody is told what is left at the server")
			}
		})
	}
}

func inAnHour(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Retry-After", "3600")
	rw.WriteHeader(http.StatusServiceUnavailable)
}

func (w *world) suspend() {
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) })
}

func TestADeletionRevokesNothingTwice(t *testing.T) {
	w := connected(t)
	g := w.stored().Grants[0]
	w.server.Handle(oauthtest.RevokePath, func(rw http.ResponseWriter, r *http.Request) {
		if r.FormValue("token_type_hint") == "access_token" && len(w.revoked()) < 4 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.must(api.Delete(t.Context(), w.get()))
	w.untilGone(w.restart)
	if got, want := w.revoked(), []string{g.RefreshToken, g.AccessToken, g.AccessToken, g.AccessToken}; !slices.Equal(got, want) {
		t.Errorf("%d tokens were sent, want the refresh token once and the access token three times", len(got))
	}
}

func TestADeletionTakesTheTokenFromItsReadersFirst(t *testing.T) {
	w := connected(t)
	w.server.Handle(oauthtest.RevokePath, answers503)
	w.must(api.Delete(t.Context(), w.get()))
	conn := w.reconcile()
	if conn == nil || w.has(w.inNamespace("c-token")) {
		t.Fatal("the token is published while it is being revoked, or the object went")
	}
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
}

func TestDeletionPolicyOrphanEndsADeletionNow(t *testing.T) {
	w := connected(t)
	w.server.Handle(oauthtest.RevokePath, answers503)
	w.must(api.Delete(t.Context(), w.get()))
	conn := w.reconcile()
	if m := findCondition(conn.Status.Conditions, ready).Message; !strings.Contains(m, "spec.deletionPolicy: Orphan") {
		t.Errorf("Ready says %s", m)
	}
	asked, uid := len(w.revoked()), conn.UID
	if w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan }) != nil || w.credentialSecret(uid) != nil {
		t.Error("it is still there")
	}
	if len(w.revoked()) != asked {
		t.Error("a token was revoked")
	}
}

func TestWaitingForASlotIsNoPartOfTheTwoMinutes(t *testing.T) {
	w := connected(t)
	leave := w.occupy(w.stored().Grants[0].RevocationEndpoint, slots.Ordinary)
	w.server.Handle(oauthtest.RevokePath, answers503)
	w.must(api.Delete(t.Context(), w.get()))
	for range 3 {
		if wait := w.oneLook(); wait <= 0 || len(w.revoked()) != 0 {
			t.Fatalf("the next look is after %s", wait)
		}
		w.clock.SetTime(w.clock.Now().Add(finalizeWithin))
	}
	leave()
	if took := w.untilGone(func() {}); took < time.Minute || len(w.revoked()) < 4 {
		t.Errorf("after the wait it was given up within %s and %d tries", took, len(w.revoked()))
	}
}

func TestAHostThatLetDeletionsHangGetsOneTry(t *testing.T) {
	w := connected(t)
	host := mcpoauth.Host(w.stored().Grants[0].RevocationEndpoint)
	w.hangs(oauthtest.RevokePath)
	for _, uid := range []string{"1", "2", "3"} {
		w.r.hung.note(host, types.UID(uid), w.clock.Now())
	}
	w.must(api.Delete(t.Context(), w.get()))
	w.oneLook()
	if w.get() != nil || len(w.revoked()) != 2 || !w.told("RevocationFailed") {
		t.Errorf("after %d tries the object is still there, or nobody is told", len(w.revoked()))
	}
}

func TestADeletionThatTimesOutIsRememberedOfItsHost(t *testing.T) {
	w := connected(t)
	host, uid := mcpoauth.Host(w.stored().Grants[0].RevocationEndpoint), w.get().UID
	w.hangs(oauthtest.RevokePath)
	w.must(api.Delete(t.Context(), w.get()))
	w.oneLook()
	now := w.clock.Now()
	for _, other := range []string{"1", "2"} {
		w.r.hung.note(host, types.UID(other), now)
	}
	for name, test := range map[string]struct {
		host, uid string
		after     time.Duration
		want      bool
	}{
		"for another deletion":        {host: host, uid: "4", want: true},
		"not for one of the three":    {host: host, uid: string(uid)},
		"not for another host":        {host: "other.example.com", uid: "4"},
		"not for longer than a while": {host: host, uid: "4", after: hungWithin},
	} {
		if got := w.r.hung.impatient(test.host, types.UID(test.uid), now.Add(test.after)); got != test.want {
			t.Errorf("%s: it is impatient: %t", name, got)
		}
	}
}

// keeping is an API server that does not delete, or not let read, some Secrets.
type keeping struct {
	client.Client
	keeps, hides string
}

func (k keeping) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	if k.keeps != "" && strings.Contains(o.GetName(), k.keeps) {
		return apierrors.NewForbidden(corev1.Resource("secrets"), o.GetName(), errors.New("the policy keep-secrets says no"))
	}
	return k.Client.Delete(ctx, o, options...)
}

func (k keeping) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if _, secret := o.(*corev1.Secret); secret && k.hides != "" && strings.Contains(key.Name, k.hides) {
		return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, errors.New("no role"))
	}
	return k.Client.Get(ctx, key, o, options...)
}

func TestASecretThatTheAPIServerKeepsHoldsUpADeletionForTwoMinutes(t *testing.T) {
	for name, test := range map[string]struct {
		keeping keeping
		names   string
		live    bool
	}{
		"the token Secret":                         {keeping: keeping{keeps: "c-token"}, names: "c-token"},
		"the credential Secret":                    {keeping: keeping{keeps: "mcp-connection-"}, names: "mcp-connection-"},
		"the token Secret, which cannot be read":   {keeping: keeping{hides: "c-token"}, names: "c-token"},
		"the credential, which cannot be read":     {keeping: keeping{hides: "mcp-connection-"}, names: "credential Secret", live: true},
		"the token Secret of a suspended one":      {keeping: keeping{keeps: "c-token"}, names: "c-token"},
		"both, and one of them cannot be read too": {keeping: keeping{keeps: "mcp-connection-", hides: "c-token"}, names: "c-token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			token := w.secret()[v1alpha1.KeyAccessToken]
			test.keeping.Client = api
			w.r.Secrets, w.r.Store = test.keeping, credential.NewStore(test.keeping, operatorNamespace)
			w.must(api.Delete(t.Context(), w.get()))
			w.drainEvents()
			w.oneLook()
			w.drainEvents()
			w.want(ready, findCondition(w.get().Status.Conditions, ready).Status, v1alpha1.ReasonSecretWriteFailing)
			if m := w.get().Status.Failure.Message; !strings.Contains(m, test.names) {
				t.Errorf("the failure says %s", m)
			}
			if w.server.ValidAccessToken(token) != test.live {
				t.Error("the token is still valid, though nothing hinders a revocation")
			}
			asked := len(w.revoked())
			if took := w.untilGone(func() {}); took > finalizeWithin || len(w.revoked()) != asked {
				t.Errorf("it took %s, and %d more revocations", took, len(w.revoked())-asked)
			}
			if !w.told("The API server does not") && !test.live {
				t.Error("nobody is told which Secret is left")
			}
		})
	}
}
