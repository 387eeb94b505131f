package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
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
	return apierrors.NewForbidden(corev1.Resource("secrets"), s.Name,
		fmt.Errorf("exceeded quota: team, requested: secrets=1, used: secrets=10, limited: secrets=10"))
}

func denied(s *corev1.Secret) error {
	return apierrors.NewForbidden(corev1.Resource("secrets"), s.Name,
		fmt.Errorf("ValidatingAdmissionPolicy 'frozen' denied request: %s", s.Data[v1alpha1.KeyAccessToken]))
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
	GinkgoHelper()
	s := w.tokenSecret()
	s.Immutable = ptr.To(true)
	Expect(api.Update(w.ctx, s)).To(Succeed())
}

// tokenSecret is the token Secret as the API server holds it.
func (w *world) tokenSecret() *corev1.Secret {
	GinkgoHelper()
	s := &corev1.Secret{}
	Expect(api.Get(w.ctx, w.inNamespace("c-token"), s)).To(Succeed())
	return s
}

// labelled has the token Secret of a connection bear a label.
func labelled(c *v1alpha1.MCPConnection) {
	c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: map[string]v1alpha1.LabelValue{"team": "agents"}}
}

var _ = Describe("A token Secret that cannot be written", func() {
	DescribeTable("is a failure that says what to do:", func(rule func(*corev1.Secret) error, words ...string) {
		w, _ := waiting()
		w.before(apiRules{create: when(isToken, rule)})
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
		shows := strings.Contains(w.readyMessage(), w.stored().Grants[0].AccessToken)
		Expect(shows).To(BeFalse(), "the message holds the token")
		for _, word := range append(words, "c-token", w.key.Namespace) {
			Expect(w.readyMessage()).To(ContainSubstring(word))
		}
		for range 9 {
			Expect(w.get().Status.Failure.RetryAt.Sub(w.clock.Now())).To(BeNumerically("<=", time.Minute+time.Second),
				"the next try comes too late")
			w.retried()
		}
		w.retried()
		Expect(w.get().Status.Failure.RetryAt.Sub(w.clock.Now())).To(
			And(BeNumerically(">=", 4*time.Minute), BeNumerically("<=", 5*time.Minute+time.Second)), "the try after ten")
		w.before(apiRules{})
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Failure).To(BeNil())
	},
		Entry("a quota", exceeded, "exceeded quota: team", "quota, policy or role"),
		Entry("a policy", denied, "frozen", "quota, policy or role"),
		Entry("a webhook is down", unavailableWebhook, "validate.policy.example.com", "asked again"),
		Entry("a bad request", func(*corev1.Secret) error { return apierrors.NewBadRequest("no such thing") },
			"no such thing"),
	)
})

var _ = Describe("An immutable token Secret", func() {
	It("holds up no refresh for longer than its token lives", func(ctx SpecContext) {
		w := connected()
		w.freeze()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		expiry := w.get().Status.Token.ExpiresAt.Time
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		Expect(strings.TrimSuffix(w.readyMessage(), ".")).To(HaveSuffix("`kubectl -n " + w.key.Namespace +
			" delete secret c-token`"))
		refreshes := w.server.Count(oauthtest.TokenPath)
		w.clock.SetTime(expiry.Add(-time.Second))
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(refreshes), "a refresh while the published token was valid "+
			"and no other could be published")
		w.clock.SetTime(expiry)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		w.clock.SetTime(expiry.Add(24 * time.Hour))
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).NotTo(Equal(refreshes), "the grant is not refreshed any more")
		w.clock.SetTime(w.stored().Grants[0].ExpiresAt.Add(time.Second))
		Expect(api.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
			Name: "c-token"}})).To(Succeed())
		w.reconcile() // at once: the Secret is another one
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(),
			"the published token is not valid")
	})

	It("is left by the token of another server", Label("security"), func() {
		w := connected()
		w.freeze()
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://127.0.0.1:1/mcp" })
		shown := w.secret()[v1alpha1.KeyAccessToken] != ""
		Expect(shown).To(BeFalse(), "the token of the other server is still shown")
	})
})

var _ = Describe("Ready", func() {
	It("ends on time though the claim of a refresh cannot be written", func() {
		w := connected()
		w.before(apiRules{update: when(isCredential, unavailableWebhook)})
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		refreshes := w.server.Count(oauthtest.TokenPath)
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(refreshes), "a refresh token was spent without a claim")
		w.before(apiRules{})
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("ends on time though no Secret can be read", func() {
		w := connected()
		w.before(apiRules{get: func() error {
			return apierrors.NewForbidden(corev1.Resource("secrets"), "", fmt.Errorf("User %q cannot get resource", "operator"))
		}})
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonAPIServerFailing)
		Expect(w.readyMessage()).To(ContainSubstring("cannot get resource"))
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonAPIServerFailing)
		w.before(apiRules{})
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A registration that could not be saved", func() {
	DescribeTable("is not made:", func(rule func(*corev1.Secret) error) {
		w := newWorld()
		w.before(apiRules{create: when(isCredential, rule)})
		w.apply()
		for range 5 {
			w.retried()
		}
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		requests := len(w.server.Requests())
		Expect(requests).To(BeZero(), "requests though nothing could be saved")
		Expect(w.get().Status.Failure).To(HaveValue(And(
			HaveField("Step", string(lifecycle.StepCreateCredential)),
			HaveField("Message", ContainSubstring(operatorNamespace)))))
		w.before(apiRules{})
		w.retried()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	},
		Entry("the namespace is missing", func(s *corev1.Secret) error {
			return apierrors.NewNotFound(corev1.Resource("namespaces"), s.Namespace)
		}),
		Entry("its quota is used up", exceeded),
		Entry("the operator may not", denied),
	)
})

var _ = Describe("The operator's namespace", func() {
	It("is to be created where it is missing in earnest", func() {
		w := newWorld()
		w.r.Store = credential.NewStore(api, "no-such-namespace")
		w.apply()
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		Expect(w.readyMessage()).To(ContainSubstring("`kubectl create namespace no-such-namespace`"))
	})
})

var _ = Describe("A stranger's Secret", Label("security"), func() {
	It("is told of before a link is offered", func(ctx SpecContext) {
		w := newWorld()
		Expect(api.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
			Name: "c-token"}})).To(Succeed())
		w.apply()
		w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
		w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonSecretConflict)
		Expect(w.offersLink()).To(BeFalse(), "a link is offered for a token that has no place")
		clients := len(w.server.Clients())
		Expect(clients).To(BeZero(), "clients that were registered for a token that has no place")
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "another"} })
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A token Secret that others change", func() {
	It("has the change of a policy named, and refreshes go on", func() {
		w := newWorld()
		writes := 0
		relabel := when(isToken, func(s *corev1.Secret) error {
			writes++
			s.Labels["team"] = "platform"
			return nil
		})
		w.apply(labelled)
		w.before(apiRules{create: relabel, update: relabel})
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		Expect(writes).To(Equal(1))
		Expect(w.readyMessage()).To(ContainSubstring("the label team"))
		w.reconcile()
		Expect(writes).To(Equal(1), "writes before the next try")
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(),
			"the refreshed token is not published")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2))
		w.before(apiRules{})
		w.retried()
		w.clock.SetTime(w.clock.Now().Add(lifecycle.RefusedRecheck))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("has the controller named that keeps editing it", func(ctx SpecContext) {
		w := newWorld()
		w.apply(labelled)
		w.consent()
		edit := func() {
			s := w.tokenSecret()
			s.Labels["team"] = "platform"
			Expect(api.Update(ctx, s, client.FieldOwner("reflector"))).To(Succeed())
		}
		for range putBacks {
			edit()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		}
		edit()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		Expect(w.readyMessage()).To(ContainSubstring("the label team (changed by reflector)"))
		w.reconcile()
		Expect(w.tokenSecret().Labels).To(HaveKeyWithValue("team", "platform"), "the edit was put back before the next try")
		w.retried()
		Expect(w.tokenSecret().Labels).To(HaveKeyWithValue("team", "agents"), "the edit was not put back at the next try")
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("keeps the owners that they named", func(ctx SpecContext) {
		w := connected()
		s := w.tokenSecret()
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "theirs"}}
		Expect(api.Create(ctx, config)).To(Succeed())
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap",
			Name: config.Name, UID: config.UID})
		Expect(api.Update(ctx, s)).To(Succeed())
		w.reconcile()
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.tokenSecret().OwnerReferences).To(HaveLen(2))
	})
})

var _ = Describe("A revocation", Label("security"), func() {
	DescribeTable("is done whatever write of the token Secret is refused:", func(rules apiRules, stays bool) {
		w := connected()
		shown := func() bool { return w.secret()[v1alpha1.KeyAccessToken] != "" }
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.freeze()
		w.before(rules)
		w.annotate(v1alpha1.AnnotationRevoke, "leak")
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the token is still valid")
		Expect(w.server.Grants()[0].Revoked).To(BeTrue(), "the grant was not revoked")
		Expect(shown()).To(Equal(stays), "whether the token is shown")
		if stays {
			w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
			told := strings.Contains(w.readyMessage(), "The Secret c-token still shows a token that was withdrawn")
			Expect(told).To(BeTrue(), "Ready does not say what is still shown")
			revocations := w.server.Count(oauthtest.RevokePath)
			w.before(apiRules{})
			w.retried()
			Expect(shown()).To(BeFalse(), "the token is still shown")
			Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(revocations), "it was revoked twice")
		}
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	},
		Entry("the Secret is immutable", apiRules{}, false),
		Entry("neither an update nor a deletion is allowed",
			apiRules{update: when(isToken, denied), delete: when(isToken, denied)}, true),
	)
})

var _ = Describe("A finalizer that cannot be set", func() {
	It("is told of", func() {
		w := newWorld()
		w.r.Client = frozenObjects{Client: api}
		w.apply()
		w.want(ready, isFalse, v1alpha1.ReasonAPIServerFailing)
		requests := len(w.server.Requests())
		Expect(requests).To(BeZero(), "requests without a finalizer")
		Expect(w.readyMessage()).To(ContainSubstring("no edits today"))
		w.r.Client = api
		w.retried()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})
})

// frozenObjects refuses to patch anything but status.
type frozenObjects struct{ client.Client }

func (frozenObjects) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("mcpconnections").GroupResource(), o.GetName(),
		errors.New("no edits today"))
}
