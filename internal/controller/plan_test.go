package controller

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var _ = Describe("A start page that is opened a hundred times", func() {
	It("leads to no write of status", func(ctx SpecContext) {
		w, link := waiting()
		before := w.get().ResourceVersion
		for range 100 {
			w.clock.SetTime(w.clock.Now().Add(time.Second))
			w.cancel(link)
			w.reconcile()
		}
		conn := w.get()
		Expect(conn.ResourceVersion).To(Equal(before), "next is %+v", conn.Status.Next)
		Expect(conn.Status.Next).To(HaveField("Basis", w.r.cachedSecrets(ctx, conn).Basis), "it does not rest")
	})
})

var _ = Describe("A plan that somebody else wrote into status", Label("security"), func() {
	It("puts nobody to sleep", func(ctx SpecContext) {
		w := connected()
		now, expiry, token := w.clock.Now(), w.get().Status.Token.ExpiresAt.Time, w.secret()[v1alpha1.KeyAccessToken]
		forge := func(at, computed time.Time) {
			conn := w.get()
			conn.Status.Next.At, conn.Status.Next.ComputedAt = &metav1.Time{Time: at}, &metav1.Time{Time: computed}
			Expect(w.r.Client.Status().Update(ctx, conn)).To(Succeed())
			w.reconcile()
		}
		for name, times := range map[string][2]time.Time{
			"past the token's end":  {expiry.Add(time.Minute), now},
			"for more than a day":   {now.Add(25 * time.Hour), now},
			"as made in the future": {expiry, now.Add(time.Hour)},
		} {
			forge(times[0], times[1])
			Expect(w.get().Status.Next.At.Time).NotTo(BeTemporally("==", times[0]), "a plan %s is believed", name)
		}
		forge(expiry, now) // that is believed, for the token's life
		w.clock.SetTime(expiry)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeFalse(), "the token is still the old one")
	})
})
