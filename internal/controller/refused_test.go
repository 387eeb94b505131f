package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// apiRules stand before the API server and refuse, or change, what is done to Secrets. A nil function lets all through.
type apiRules struct {
	client.Client
	get                    func() error
	create, update, delete func(*corev1.Secret) error
}

func (c apiRules) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, is := o.(*corev1.Secret); is && c.get != nil {
		if err := c.get(); err != nil {
			return err
		}
	}
	return c.Client.Get(ctx, key, o, opts...)
}

func (c apiRules) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if err := ask(c.create, o); err != nil {
		return err
	}
	return c.Client.Create(ctx, o, opts...)
}

func (c apiRules) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	if err := ask(c.update, o); err != nil {
		return err
	}
	return c.Client.Update(ctx, o, opts...)
}

func (c apiRules) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	if err := ask(c.delete, o); err != nil {
		return err
	}
	return c.Client.Delete(ctx, o, opts...)
}

func ask(rule func(*corev1.Secret) error, o client.Object) error {
	if s, is := o.(*corev1.Secret); is && rule != nil {
		return rule(s)
	}
	return nil
}

// before puts rules before the API server.
func (w *world) before(c apiRules) {
	c.Client = api
	w.r.Secrets, w.r.Store = c, credential.NewStore(c, operatorNamespace)
}

func exceeded(s *corev1.Secret) error {
	return apierrors.NewForbidden(corev1.Resource("secrets"), s.Name, fmt.Errorf("exceeded quota: team, requested: secrets=1, used: secrets=10, limited: secrets=10"))
}

func denied(s *corev1.Secret) error {
	return apierrors.NewForbidden(corev1.Resource("secrets"), s.Name, fmt.Errorf("ValidatingAdmissionPolicy 'frozen' denied request: %s", s.Data[v1alpha1.KeyAccessToken]))
}

func unavailableWebhook(*corev1.Secret) error {
	return apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q", "validate.policy.example.com"))
}

// when has a rule hold only for the Secrets that are meant.
func when(is func(*corev1.Secret) bool, rule func(*corev1.Secret) error) func(*corev1.Secret) error {
	return func(s *corev1.Secret) error {
		if is(s) {
			return rule(s)
		}
		return nil
	}
}

func isToken(s *corev1.Secret) bool      { return s.Namespace != operatorNamespace }
func isCredential(s *corev1.Secret) bool { return s.Namespace == operatorNamespace }

// freeze makes the token Secret immutable.
func (w *world) freeze() {
	w.t.Helper()
	s := &corev1.Secret{}
	w.must(api.Get(w.t.Context(), w.inNamespace("c-token"), s))
	s.Immutable = ptr.To(true)
	w.must(api.Update(w.t.Context(), s))
}

func TestATokenSecretThatCannotBeWrittenIsAFailureThatSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		rule  func(*corev1.Secret) error
		words []string
	}{
		"a quota":           {exceeded, []string{"exceeded quota: team", "quota, policy or role"}},
		"a policy":          {denied, []string{"frozen", "quota, policy or role"}},
		"a webhook is down": {unavailableWebhook, []string{"validate.policy.example.com", "asked again"}},
		"a bad request":     {func(*corev1.Secret) error { return apierrors.NewBadRequest("no such thing") }, []string{"no such thing"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := waiting(t)
			w.before(apiRules{create: when(isToken, test.rule)})
			w.consent()
			w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
			w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
			for _, words := range append(test.words, "c-token", w.key.Namespace) {
				if !strings.Contains(w.readyMessage(), words) {
					t.Errorf("%q does not say %q", w.readyMessage(), words)
				}
			}
			if strings.Contains(w.readyMessage(), w.stored().Grants[0].AccessToken) {
				t.Error("the message holds the token")
			}
			for range 9 { // within a minute each
				retry := w.get().Status.Failure.RetryAt
				if wait := retry.Sub(w.clock.Now()); wait > time.Minute+time.Second {
					t.Fatalf("the next try is after %s", wait)
				}
				w.untilRetry()
				w.reconcile()
			}
			w.untilRetry()
			w.reconcile()
			if wait := w.get().Status.Failure.RetryAt.Sub(w.clock.Now()); wait < 4*time.Minute || wait > 5*time.Minute+time.Second {
				t.Errorf("after ten tries the next is after %s", wait)
			}
			w.before(apiRules{})
			w.untilRetry()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.get().Status.Failure != nil {
				t.Error("the failure stays")
			}
		})
	}
}

func TestAnImmutableTokenSecretHoldsUpNoRefreshForLongerThanItsTokenLives(t *testing.T) {
	w := connected(t)
	w.freeze()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	expiry := w.get().Status.Token.ExpiresAt.Time
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	if m := w.readyMessage(); !strings.HasSuffix(strings.TrimSuffix(m, "."), "`kubectl -n "+w.key.Namespace+" delete secret c-token`") {
		t.Errorf("the command does not stand last: %q", m)
	}
	refreshes := w.server.Count(oauthtest.TokenPath)
	w.clock.SetTime(expiry.Add(-time.Second))
	w.reconcile()
	if n := w.server.Count(oauthtest.TokenPath); n != refreshes {
		t.Errorf("%d refreshes while the published token was valid and no other could be published", n-refreshes)
	}
	w.clock.SetTime(expiry)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
	w.clock.SetTime(expiry.Add(24 * time.Hour))
	w.reconcile()
	if w.server.Count(oauthtest.TokenPath) == refreshes {
		t.Fatal("the grant is not refreshed any more")
	}
	w.clock.SetTime(w.stored().Grants[0].ExpiresAt.Add(time.Second))
	w.must(api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
	w.reconcile() // at once: the Secret is another one
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
		t.Error("the published token is not valid")
	}
}

func TestARefreshTokenIsKeptAliveThoughTheNextTokenCannotBePublished(t *testing.T) {
	o := given(granted(), published, granted(func(g *credential.Grant) {
		g.AccessToken, g.IssuedAt, g.RefreshAt = "another", epoch, epoch.Add(time.Minute)
	}),
		failing(stepPublish, v1alpha1.ReasonSecretWriteFailing, 2*time.Hour))
	testDecisions(t, map[string]decision{"without keepAlive it waits": {at: 10 * time.Minute, o: o, want: stepNone}})
	alive := *o
	alive.conn = o.conn.DeepCopy()
	specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: 5 * time.Minute}}
	})(&alive)
	alive.failures = nil
	failing(stepPublish, v1alpha1.ReasonSecretWriteFailing, 2*time.Hour)(&alive)
	testDecisions(t, map[string]decision{
		"with keepAlive it waits for that": {at: 5*time.Minute - time.Second, o: &alive, want: stepNone},
		"and no longer":                    {at: 5 * time.Minute, o: &alive, want: stepRefresh},
	})
	dying := *o
	dying.held = &credential.Held{Credential: &credential.Credential{}}
	granted(func(g *credential.Grant) {
		g.AccessToken, g.RefreshAt, g.EndsAt = "another", epoch.Add(time.Minute), epoch.Add(30*time.Minute)
	})(&dying)
	testDecisions(t, map[string]decision{
		"a refresh token that dies waits for two thirds of its life": {at: 19 * time.Minute, o: &dying, want: stepNone},
		"and not until it is dead":                                   {at: 20 * time.Minute, o: &dying, want: stepRefresh},
	})
}

func TestReadyEndsOnTimeThoughTheClaimOfARefreshCannotBeWritten(t *testing.T) {
	w := connected(t)
	w.before(apiRules{update: when(isCredential, unavailableWebhook)})
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	refreshes := w.server.Count(oauthtest.TokenPath)
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
	if w.server.Count(oauthtest.TokenPath) != refreshes {
		t.Error("a refresh token was spent without a claim")
	}
	w.before(apiRules{})
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestReadyEndsOnTimeThoughNoSecretCanBeRead(t *testing.T) {
	w := connected(t)
	w.before(apiRules{get: func() error {
		return apierrors.NewForbidden(corev1.Resource("secrets"), "", fmt.Errorf("User %q cannot get resource", "operator"))
	}})
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonAPIServerFailing)
	if !strings.Contains(w.readyMessage(), "cannot get resource") {
		t.Errorf("%q does not say what the API server said", w.readyMessage())
	}
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonAPIServerFailing)
	w.before(apiRules{})
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestNothingIsRegisteredBeforeThereIsAPlaceToSaveIt(t *testing.T) {
	for name, rule := range map[string]func(*corev1.Secret) error{
		"the namespace is missing": func(s *corev1.Secret) error { return apierrors.NewNotFound(corev1.Resource("namespaces"), s.Namespace) },
		"its quota is used up":     exceeded,
		"the operator may not":     denied,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.before(apiRules{create: when(isCredential, rule)})
			w.apply()
			for range 5 {
				w.untilRetry()
				w.reconcile()
			}
			w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
			if n := len(w.server.Requests()); n != 0 {
				t.Errorf("%d requests though nothing could be saved", n)
			}
			if f := w.get().Status.Failure; f.Step != string(stepCreateCredential) || !strings.Contains(f.Message, operatorNamespace) {
				t.Errorf("the failure is %+v", f)
			}
			w.before(apiRules{})
			w.untilRetry()
			w.reconcile()
			w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		})
	}
}

func TestTheOperatorsNamespaceIsMissingInEarnest(t *testing.T) {
	w := newWorld(t)
	w.r.Store = credential.NewStore(api, "no-such-namespace")
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
	if m := w.readyMessage(); !strings.Contains(m, "`kubectl create namespace no-such-namespace`") {
		t.Errorf("%q holds no command", m)
	}
}

func TestAStrangersSecretIsToldOfBeforeALinkIsOffered(t *testing.T) {
	w := newWorld(t)
	w.must(api.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
	w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonSecretConflict)
	if w.get().Status.AuthorizationURL != "" || len(w.server.Clients()) != 0 {
		t.Error("a link is offered, or a client registered, for a token that has no place")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "another"} })
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestWhatAPolicyChangesInTheTokenSecretIsNamedAndRefreshesGoOn(t *testing.T) {
	w := newWorld(t)
	writes := 0
	relabel := when(isToken, func(s *corev1.Secret) error {
		writes++
		s.Labels["team"] = "platform"
		return nil
	})
	w.apply(func(c *v1alpha1.MCPConnection) {
		c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: map[string]v1alpha1.LabelValue{"team": "agents"}}
	})
	w.before(apiRules{create: relabel, update: relabel})
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	if writes != 1 || !strings.Contains(w.readyMessage(), "the label team") {
		t.Fatalf("%d writes, and %q", writes, w.readyMessage())
	}
	w.reconcile()
	if writes != 1 {
		t.Errorf("%d writes before the next try", writes)
	}
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	if !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) || w.server.Count(oauthtest.TokenPath) != 2 {
		t.Error("the refreshed token is not published")
	}
	w.before(apiRules{})
	w.untilRetry()
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(refusedRecheck))
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAControllerThatKeepsEditingTheTokenSecretIsNamed(t *testing.T) {
	w := newWorld(t)
	w.apply(func(c *v1alpha1.MCPConnection) {
		c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: map[string]v1alpha1.LabelValue{"team": "agents"}}
	})
	w.consent()
	edit := func() {
		s := &corev1.Secret{}
		w.must(api.Get(t.Context(), w.inNamespace("c-token"), s))
		s.Labels["team"] = "platform"
		w.must(api.Update(t.Context(), s, client.FieldOwner("reflector")))
	}
	for range putBacks {
		edit()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	}
	edit()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	if m := w.readyMessage(); !strings.Contains(m, "the label team (changed by reflector)") {
		t.Errorf("%q does not name the field and its manager", m)
	}
	edits := func() string {
		s := &corev1.Secret{}
		w.must(api.Get(t.Context(), w.inNamespace("c-token"), s))
		return s.Labels["team"]
	}
	w.reconcile()
	if edits() != "platform" {
		t.Error("the edit was put back before the next try")
	}
	w.untilRetry()
	w.reconcile()
	if edits() != "agents" {
		t.Error("the edit was not put back at the next try")
	}
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestOwnersThatOthersNamedStay(t *testing.T) {
	w := connected(t)
	s := &corev1.Secret{}
	w.must(api.Get(t.Context(), w.inNamespace("c-token"), s))
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "theirs"}}
	w.must(api.Create(t.Context(), config))
	s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: config.Name, UID: config.UID})
	w.must(api.Update(t.Context(), s))
	w.reconcile()
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.must(api.Get(t.Context(), w.inNamespace("c-token"), s))
	if len(s.OwnerReferences) != 2 {
		t.Errorf("the owners are %v", s.OwnerReferences)
	}
}

func TestARevocationIsDoneWhateverWriteOfTheTokenSecretIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		rules apiRules
		shown bool
	}{
		"the Secret is immutable":                     {apiRules{}, false},
		"neither an update nor a deletion is allowed": {apiRules{update: when(isToken, denied), delete: when(isToken, denied)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			token := w.secret()[v1alpha1.KeyAccessToken]
			w.freeze()
			w.before(test.rules)
			w.annotate(v1alpha1.AnnotationRevoke, "leak")
			if w.server.ValidAccessToken(token) || !w.server.Grants()[0].Revoked {
				t.Fatal("the grant was not revoked")
			}
			if shown := w.secret()[v1alpha1.KeyAccessToken] != ""; shown != test.shown {
				t.Fatalf("the token is shown: %t", shown)
			}
			if !test.shown {
				w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
				return
			}
			w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
			if !strings.Contains(w.readyMessage(), "The Secret c-token still shows a token that was withdrawn") {
				t.Errorf("%q does not say what is still shown", w.readyMessage())
			}
			revocations := w.server.Count(oauthtest.RevokePath)
			w.before(apiRules{})
			w.untilRetry()
			w.reconcile()
			if w.secret()[v1alpha1.KeyAccessToken] != "" || w.server.Count(oauthtest.RevokePath) != revocations {
				t.Error("the token is still shown, or was revoked twice")
			}
			w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		})
	}
}

func TestATokenOfAnotherServerLeavesAnImmutableSecret(t *testing.T) {
	w := connected(t)
	w.freeze()
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://127.0.0.1:1/mcp" })
	if w.secret()[v1alpha1.KeyAccessToken] != "" {
		t.Error("the token of the other server is still shown")
	}
}

func TestARefusalOfTheAPIServerRepeatsNoSecret(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"grants": []byte(`[{"refresh_token":"a-refresh-token"}]`), "access_token": []byte("an-access-token")}}
	secret.Namespace, secret.Name = "team", "c-token"
	err := credential.NewWriteError("update", secret, apierrors.NewForbidden(corev1.Resource("secrets"), "c-token",
		fmt.Errorf("policy echo: a-refresh-token, an-access-token, YW4tYWNjZXNzLXRva2Vu")))
	_, message := refusedText(err)
	for _, text := range []string{err.Error(), message} {
		if strings.Contains(text, "a-refresh-token") || strings.Contains(text, "an-access-token") || strings.Contains(text, "YW4t") || !strings.Contains(text, "policy echo") {
			t.Errorf("the text is %q", text)
		}
	}
}

func TestAFinalizerThatCannotBeSetIsToldOf(t *testing.T) {
	w := newWorld(t)
	w.r.Client = frozenObjects{Client: api}
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonAPIServerFailing)
	if len(w.server.Requests()) != 0 || !strings.Contains(w.readyMessage(), "no edits today") {
		t.Errorf("%d requests; %q", len(w.server.Requests()), w.readyMessage())
	}
	w.r.Client = api
	w.untilRetry()
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

// frozenObjects refuses to patch anything but status.
type frozenObjects struct{ client.Client }

func (frozenObjects) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("mcpconnections").GroupResource(), o.GetName(), errors.New("no edits today"))
}
