package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// flaky is an API server that fails at some updates.
type flaky struct {
	client.Client
	fails func() bool
}

func (f flaky) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if f.fails() {
		return errors.New("connection refused")
	}
	return f.Client.Update(ctx, obj, opts...)
}

// unsaved is how many answers are not saved, by the metric as it is scraped.
func (w *world) unsaved() float64 {
	const name = "mcp_connection_unsaved_answers"
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	w.must(err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	Fail(fmt.Sprintf("there is no metric %s", name))
	return 0
}

// frozen is a way to the API server on which a process is frozen before its first read of a token Secret.
type frozen struct {
	client.Client
	once      *sync.Once
	meanwhile func()
}

func (f frozen) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	f.once.Do(f.meanwhile)
	return f.Client.Get(ctx, key, obj, opts...)
}

// noting tells of every update.
type noting struct {
	client.Client
	updated func(client.Object)
}

func (n noting) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	n.updated(obj)
	return n.Client.Update(ctx, obj, opts...)
}

var _ = Describe("A claim of a process that is gone", func() {
	It("on the second try lets no third follow while the token is valid", func() {
		w := connected(keptTokens)
		w.server.Lose(oauthtest.TokenPath, 1)
		w.untilRefresh()
		w.reconcile() // sent once, no answer
		w.abandon(claimGrant)
		w.untilRetry()
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(claims.TakeoverAfter))
		w.reconcile()
		Expect(w.stored().Grants[0].Claim).To(BeNil())
		Expect(w.lostAnswers()).To(Equal(2))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(3), "no try once nothing could be lost by it")
	})

	DescribeTable("is taken over at once if the process was of the same pod:", func(pod string, requests int) {
		w := connected()
		w.abandon(func(c *credential.Credential, claim *credential.Claim) {
			claim.Holder = "pod/before"
			c.Grants[0].Claim = claim
		})
		w.restart()
		w.r.Claims.Pod, w.r.Claims.Holder = pod, pod+"/now"
		w.untilRefresh()
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(requests), "token requests")
	},
		Entry("of this pod", "pod", 2),
		Entry("of a pod whose UID begins alike", "po", 1),
		Entry("outside of a pod nothing is said", "", 1),
	)
})

var _ = Describe("An answer that cannot be saved", func() {
	It("is counted and kept until it is saved", func() {
		w := connected()
		token := w.stored().Grants[0].RefreshToken
		writes, most := 0, 0.0
		w.r.Store = credential.NewStore(flaky{api, func() bool {
			writes++
			most = max(most, w.unsaved())
			return writes > 1 && writes < 5 // the claim comes through, then the API server is away
		}}, operatorNamespace)
		w.untilRefresh()
		w.reconcile()
		Expect(writes).To(Equal(5), "writes")
		Expect(most).To(BeEquivalentTo(1), "answers that were unsaved")
		Expect(w.unsaved()).To(BeZero(), "answers that are unsaved")
		g := w.stored().Grants[0]
		Expect(g.Claim).To(BeNil())
		saved := g.RefreshToken != token
		Expect(saved).To(BeTrue(), "the answer was not saved")
		log := strings.Join(w.log.all(), "\n")
		Expect(strings.Count(log, "cannot be saved")).To(Equal(1), "the log says %s", log)
		Expect(strings.Count(log, "is saved now")).To(Equal(1), "the log says %s", log)
	})
})

var _ = Describe("The one more try after a lost answer", func() {
	It("does not wait for earlier failures", func() {
		w := connected(keptTokens)
		w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusInternalServerError)
		})
		w.untilRefresh()
		for range 6 {
			w.reconcile()
			w.untilRetry()
		}
		w.server.Handle(oauthtest.TokenPath, nil)
		w.server.Lose(oauthtest.TokenPath, 1)
		w.reconcile()
		Expect(w.get().Status.Failure.RetryAt.Sub(w.clock.Now())).To(BeNumerically("<=", lifecycle.FirstRetry+time.Second),
			"the one more try")
	})
})

var _ = Describe("A process that was frozen", func() {
	It("publishes no token older than the one it finds", func(ctx SpecContext) {
		w := connected()
		old := w.secret()[v1alpha1.KeyAccessToken]
		w.untilRefresh()
		resumed := w.r
		w.restart()
		token := &corev1.Secret{}
		Expect(api.Get(ctx, client.ObjectKey{Namespace: w.key.Namespace, Name: lifecycle.TokenSecretName(w.get())},
			token)).To(Succeed())
		token.Labels["example.com/edited"] = "true" // so that it is read live
		Expect(api.Update(ctx, token)).To(Succeed())
		var published []string
		resumed.Secrets = frozen{api, &sync.Once{}, func() {
			w.reconcile() // the other one refreshes and publishes
			published = append(published, w.secret()[v1alpha1.KeyAccessToken])
		}}
		resumed.Secrets = noting{resumed.Secrets, func(obj client.Object) {
			if s, ok := obj.(*corev1.Secret); ok {
				published = append(published, string(s.Data[v1alpha1.KeyAccessToken]))
			}
		}}
		_, err := resumed.Reconcile(ctx, ctrl.Request{NamespacedName: w.key})
		Expect(err).NotTo(HaveOccurred())
		Expect(published).NotTo(BeEmpty())
		older := slices.Contains(published, old)
		Expect(older).To(BeFalse(), "the old token is among the %d that were published", len(published))
		Expect(w.holdsToken(w.stored().Grants[0].AccessToken)).To(BeTrue(), "the token that is published is not the newest")
	})
})
