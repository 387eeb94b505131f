package controller

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

var _ = Describe("A long-lived token", func() {
	It("is refreshed as often as its grant needs", func() {
		w := newWorld(func(c *oauthtest.Config) { c.AccessTokenLifetime = 30 * day })
		w.apply(func(c *v1alpha1.MCPConnection) {
			c.Spec.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: 7 * day}}
		})
		w.consent()
		began := w.clock.Now()
		for week := 1; week <= 5; week++ {
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1+week), "token requests in week %d", week)
			Expect(w.clock.Now()).To(BeTemporally("<=", began.Add(time.Duration(week)*7*day)), "the refresh of week %d", week)
		}
	})
})

var _ = Describe("A short-lived refresh token", func() {
	It("is used in time", func() {
		w := newWorld(func(c *oauthtest.Config) { c.AccessTokenLifetime = 24 * time.Hour })
		w.apply()
		w.server.Edit(oauthtest.TokenPath, -1, func(m map[string]any) { m["refresh_expires_in"] = 1800 })
		w.consent()
		token := w.get().Status.Token
		Expect(token.RefreshAt.Sub(token.IssuedAt.Time)).To(BeNumerically("<=", 20*time.Minute), "the time of the refresh")
		Expect(token.GrantExpiresAt).NotTo(BeNil())
		Expect(token.GrantExpiresAt.Sub(token.IssuedAt.Time)).To(BeNumerically("<=", 31*time.Minute), "the end of the grant")
		for range 3 {
			w.restart()
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		}
		end := w.get().Status.Token.GrantExpiresAt.Time
		w.server.Edit(oauthtest.TokenPath, -1, func(m map[string]any) {
			m["refresh_expires_in"] = end.Sub(w.clock.Now()).Seconds()
		})
		w.untilRefresh()
		w.reconcile()
		w.clock.SetTime(end.Add(-time.Minute))
		conn := w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "no link is offered for a grant that ends")
	})
})
