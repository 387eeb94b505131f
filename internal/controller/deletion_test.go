package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
	"github.com/mcp-connection/operator/test/matchers"
)

// answers503 is a server that is down.
func answers503(rw http.ResponseWriter, _ *http.Request) {
	rw.WriteHeader(http.StatusServiceUnavailable)
}

// hangs has an endpoint answer too late: the clock shows that a whole try went by.
func (w *world) hangs(path string) {
	w.server.Handle(path, func(rw http.ResponseWriter, _ *http.Request) {
		w.lastTry = w.clock.Now()
		w.clock.SetTime(w.clock.Now().Add(claims.SendBy))
		rw.WriteHeader(http.StatusGatewayTimeout)
	})
}

// oneLook is one look at the connection; it says when the next is wanted.
func (w *world) oneLook() time.Duration {
	GinkgoHelper()
	result, err := w.r.Reconcile(ctrl.LoggerInto(w.ctx, w.log.logger()), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result.RequeueAfter
}

// untilGone looks at a deleted connection whenever that is wanted, and says how long it took to go.
func (w *world) untilGone(between func()) time.Duration {
	GinkgoHelper()
	begun := w.clock.Now()
	for range 100 {
		wait := w.oneLook()
		conn := w.get()
		if conn == nil {
			return w.clock.Now().Sub(begun)
		}
		Expect(wait).To(BeNumerically(">", 0), "nobody looks again, and the object is there: %+v", conn.Status.Failure)
		Expect(conn).To(matchers.ObeyStatusLaws(w.clock.Now()))
		if f := conn.Status.Failure; f == nil || f.Step != string(lifecycle.StepFinalize) ||
			!strings.Contains(f.Message, "given up at ") {
			Fail(fmt.Sprintf("nothing says what holds it up: %+v", f))
		}
		w.clock.SetTime(w.clock.Now().Add(wait))
		between()
	}
	Fail("it does not go")
	return 0
}

// gone reports whether there is no connection any more. A failed Expect of the object itself would print its link.
func (w *world) gone() bool {
	GinkgoHelper()
	return w.get() == nil
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

func inAnHour(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Retry-After", "3600")
	rw.WriteHeader(http.StatusServiceUnavailable)
}

func (w *world) suspend() {
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) })
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

var _ = Describe("A deletion", func() {
	DescribeTable("takes two minutes at most, even if",
		func(ctx SpecContext, hinder func(*world), between ...func(*world)) {
			w := connected(expiring, managing)
			uid, g := w.get().UID, w.stored().Grants[0]
			hinder(w)
			Expect(api.Delete(ctx, w.get())).To(Succeed())
			w.clock.SetTime(w.clock.Now().Add(time.Hour)) // nobody was there
			begun := w.clock.Now()
			took := w.untilGone(func() {
				for _, happens := range between {
					happens(w)
				}
			})
			if took > finalizeWithin { // a try that begins late is cut short by its deadline, which this clock does not see
				Expect(w.lastTry.Sub(begun)).To(BeNumerically("<", finalizeWithin))
				Expect(took).To(BeNumerically("<=", finalizeWithin+claims.SendBy))
			}
			tokens := w.revoked()
			Expect(slices.Contains(tokens, g.RefreshToken)).To(BeTrue(), "the refresh token was not tried")
			Expect(slices.Contains(tokens, g.AccessToken)).To(BeTrue(), "the access token was not tried")
			Expect(w.has(credentialKey(uid))).To(BeFalse(), "the credential Secret is left")
			Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
			Expect(w.drainEvents()).To(ContainElement(Or(ContainSubstring("RevocationFailed"),
				ContainSubstring("UnregistrationFailed"))),
				"nobody is told what is left at the server")
		},
		Entry("the revocation endpoint is down", func(w *world) { w.server.Handle(oauthtest.RevokePath, answers503) }),
		Entry("the revocation endpoint hangs", func(w *world) { w.hangs(oauthtest.RevokePath) }),
		Entry("the registration's endpoint is down", func(w *world) { w.server.Handle(w.managementPath(), answers503) }),
		Entry("the registration's endpoint hangs", func(w *world) { w.hangs(w.managementPath()) }),
		Entry("both hang", func(w *world) { w.hangs(w.managementPath()); w.hangs(oauthtest.RevokePath) }),
		Entry("it was suspended", func(w *world) { w.suspend(); w.hangs(oauthtest.RevokePath) }),
		Entry("the server wants to be asked in an hour", func(w *world) { w.server.Handle(oauthtest.RevokePath, inAnHour) }),
		Entry("the process restarts", func(w *world) { w.hangs(oauthtest.RevokePath) }, (*world).restart),
		Entry("the process restarts and the status is emptied", func(w *world) { w.hangs(oauthtest.RevokePath) },
			func(w *world) { w.restart(); w.emptyStatus() }),
	)

	It("revokes nothing twice", func(ctx SpecContext) {
		w := connected()
		g := w.stored().Grants[0]
		w.server.Handle(oauthtest.RevokePath, func(rw http.ResponseWriter, r *http.Request) {
			if r.FormValue("token_type_hint") == "access_token" && len(w.revoked()) < 4 {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.untilGone(w.restart)
		sent := w.revoked()
		Expect(slices.Equal(sent, []string{g.RefreshToken, g.AccessToken, g.AccessToken, g.AccessToken})).To(BeTrue(),
			"%d tokens were sent, want the refresh token once and the access token three times", len(sent))
	})

	It("takes the token from its readers first", Label("security"), func(ctx SpecContext) {
		w := connected()
		w.server.Handle(oauthtest.RevokePath, answers503)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeFalse(), "the object went")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token is published while it is being revoked")
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
	})

	It("ends as soon as spec.deletionPolicy is Orphan", func(ctx SpecContext) {
		w := connected()
		w.server.Handle(oauthtest.RevokePath, answers503)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		conn := w.reconcile()
		Expect(meta.FindStatusCondition(conn.Status.Conditions, ready).Message).To(
			ContainSubstring("spec.deletionPolicy: Orphan"))
		asked, uid := w.server.Count(oauthtest.RevokePath), conn.UID
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		Expect(w.gone()).To(BeTrue(), "the object is still there")
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "the credential Secret is still there")
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(asked), "a token was revoked")
	})

	It("has its two minutes without its waits for a slot", func(ctx SpecContext) {
		w := connected()
		leave := w.occupy(w.stored().Grants[0].RevocationEndpoint, slots.Ordinary)
		w.server.Handle(oauthtest.RevokePath, answers503)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		for range 3 {
			Expect(w.oneLook()).To(BeNumerically(">", 0), "nobody looks again")
			Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero())
			w.clock.SetTime(w.clock.Now().Add(finalizeWithin))
		}
		leave()
		Expect(w.untilGone(func() {})).To(BeNumerically(">=", time.Minute), "after the wait it was given up soon")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeNumerically(">=", 4))
	})

	It("gets one try at a host that let deletions hang", func(ctx SpecContext) {
		w := connected()
		host := mcpoauth.Host(w.stored().Grants[0].RevocationEndpoint)
		w.hangs(oauthtest.RevokePath)
		for _, uid := range []string{"1", "2", "3"} {
			w.r.hung.note(host, types.UID(uid), w.clock.Now())
		}
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.oneLook()
		Expect(w.gone()).To(BeTrue(), "the object is still there")
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(2))
		Expect(w.told("RevocationFailed")).To(BeTrue(), "nobody is told")
	})

	It("that times out is remembered of its host", func(ctx SpecContext) {
		w := connected()
		host, uid := mcpoauth.Host(w.stored().Grants[0].RevocationEndpoint), w.get().UID
		w.hangs(oauthtest.RevokePath)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.oneLook()
		now := w.clock.Now()
		for _, other := range []string{"1", "2"} {
			w.r.hung.note(host, types.UID(other), now)
		}
		Expect(w.r.hung.impatient(host, "4", now)).To(BeTrue(), "with another deletion it is patient")
		Expect(w.r.hung.impatient(host, uid, now)).To(BeFalse(), "with one of the three it is impatient")
		Expect(w.r.hung.impatient("other.example.com", "4", now)).To(BeFalse(), "with another host it is impatient")
		Expect(w.r.hung.impatient(host, "4", now.Add(hungWithin))).To(BeFalse(), "it is impatient for longer than a while")
	})

	DescribeTable("is held up for two minutes by a Secret that the API server keeps,",
		func(ctx SpecContext, server keeping, names string, live bool) {
			w := connected()
			token := w.secret()[v1alpha1.KeyAccessToken]
			server.Client = api
			w.r.Secrets, w.r.Store = server, credential.NewStore(server, operatorNamespace)
			Expect(api.Delete(ctx, w.get())).To(Succeed())
			w.drainEvents()
			w.oneLook()
			w.drainEvents()
			w.want(ready, meta.FindStatusCondition(w.get().Status.Conditions, ready).Status, v1alpha1.ReasonSecretWriteFailing)
			Expect(w.get().Status.Failure.Message).To(ContainSubstring(names))
			Expect(w.server.ValidAccessToken(token)).To(Equal(live), "whether the token is still valid")
			asked := w.server.Count(oauthtest.RevokePath)
			Expect(w.untilGone(func() {})).To(BeNumerically("<=", finalizeWithin))
			Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(asked), "more tokens were revoked")
			if !live {
				Expect(w.told("The API server does not")).To(BeTrue(), "nobody is told which Secret is left")
			}
		},
		Entry("the token Secret", keeping{keeps: "c-token"}, "c-token", false),
		Entry("the credential Secret", keeping{keeps: "mcp-connection-"}, "mcp-connection-", false),
		Entry("the token Secret, which cannot be read", keeping{hides: "c-token"}, "c-token", false),
		Entry("the credential, which cannot be read", keeping{hides: "mcp-connection-"}, "credential Secret", true),
		Entry("the token Secret of a suspended one", keeping{keeps: "c-token"}, "c-token", false),
		Entry("both, and one of them cannot be read too", keeping{keeps: "mcp-connection-", hides: "c-token"}, "c-token",
			false),
	)
})
