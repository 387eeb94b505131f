package controller

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// answersJSON has the token endpoint answer everything so.
func (w *world) answersJSON(status int, body string) {
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	})
}

var _ = Describe("A grant that is refused for hours", func() {
	It("is set aside and tried on", func() {
		w := connected()
		w.untilRefresh()
		w.answersJSON(http.StatusBadRequest, `{"error":"invalid_scope"}`)
		begin := w.clock.Now()
		for range 40 {
			w.reconcile()
			if w.stored().Grants[0].SetAside != nil {
				break
			}
			w.untilRetry()
		}
		aside := w.stored().Grants[0].SetAside
		Expect(aside).NotTo(BeNil())
		Expect(w.clock.Now().Sub(begin)).To(BeNumerically(">=", lifecycle.RejectedFor), "it was set aside too early")
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeNumerically(">=", lifecycle.MaxRejections),
			"it was set aside after too few requests")
		w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestRejected)
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		for range 3 {
			before := w.server.Count(oauthtest.TokenPath)
			w.restart()
			w.later(time.Hour + time.Second)
			Expect(w.server.Count(oauthtest.TokenPath)-before).To(Equal(1), "requests in an hour")
		}
		again := w.stored().Grants[0].SetAside
		Expect(again).NotTo(BeNil())
		Expect(again.At).To(BeTemporally("==", aside.At), "it is set aside anew")
		w.server.Handle(oauthtest.TokenPath, nil)
		w.later(time.Hour + time.Second)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.offersLink()).To(BeFalse(), "the link stayed")
		Expect(w.stored().Grants[0].SetAside).To(BeNil(), "a success took nothing back")
	})
})

var _ = Describe("A gateway's JSON", func() {
	DescribeTable("never ends a grant, and a link is offered once the token has expired:",
		func(status int, body string, link bool) {
			w := connected(func(c *oauthtest.Config) { c.AccessTokenLifetime = 5 * time.Minute })
			expiry := w.get().Status.Token.ExpiresAt.Time
			w.untilRefresh()
			w.answersJSON(status, body)
			for range 20 {
				w.reconcile()
				Expect(w.stored().Grants[0].SetAside).To(BeNil())
				expired := !w.clock.Now().Before(expiry)
				Expect(w.offersLink()).To(Equal(expired && link), "whether a link is offered; expired: %t", expired)
				w.untilRetry()
			}
			w.server.Handle(oauthtest.TokenPath, nil)
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			Expect(w.offersLink()).To(BeFalse(), "the link stayed")
		},
		Entry("a gateway forbids it", http.StatusForbidden, `{"error":"Forbidden","status":403}`, true),
		Entry("a 400 that says nothing", http.StatusBadRequest, `{"message":"no"}`, true),
		Entry("nothing is found", http.StatusNotFound, `{"status":404,"error":"Not Found"}`, false),
		Entry("the server fails", http.StatusInternalServerError, `{"error":"invalid_request"}`, false),
		Entry("there are too many of them", http.StatusTooManyRequests, `{"error":"invalid_request"}`, false),
	)
})
