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

// These specs use onceMore and not reconcile, whose laws want no instant that lies ahead. What was planned while the
// clock was ahead would come too late: the token expires at the server by the server's clock.
var _ = Describe("A clock that was set back", func() {
	DescribeTable("does not hold back a refresh:", func(back time.Duration, refreshes int) {
		w := connected()
		sent := w.server.Count(oauthtest.TokenPath)
		w.clock.SetTime(w.clock.Now().Add(-back))
		for range 2 { // the second time the token is of this clock
			w.onceMore()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		}
		Expect(w.server.Count(oauthtest.TokenPath)-sent).To(Equal(refreshes), "refreshes")
	},
		Entry("an hour back, the token is refreshed at once", time.Hour, 1),
		Entry("seconds back are the difference between two machines", 30*time.Second, 0),
		Entry("the slack is a minute", lifecycle.ClockSlack, 0),
		Entry("a little more than that says that nobody knows the expiry", lifecycle.ClockSlack+time.Second, 1),
	)

	It("does not hold back a retry", func() {
		w := connected()
		w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusInternalServerError)
		})
		w.untilRefresh()
		w.reconcile() // it fails since before the clock was ahead
		w.clock.SetTime(w.clock.Now().Add(time.Hour))
		w.reconcile()
		sent := w.server.Count(oauthtest.TokenPath)
		w.clock.SetTime(w.clock.Now().Add(-time.Hour))
		w.onceMore()
		Expect(w.server.Count(oauthtest.TokenPath)-sent).To(Equal(1), "tries at once")
		w.onceMore()
		Expect(w.server.Count(oauthtest.TokenPath)-sent).To(Equal(1), "it was tried again without a pause")
		w.server.Handle(oauthtest.TokenPath, nil)
		w.untilRetry()
		w.onceMore()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("puts a try at the token's end off by no more than the token's life", func() {
		w := connected(keptTokens)
		token := w.get().Status.Token
		life := token.ExpiresAt.Sub(token.IssuedAt.Time)
		w.clock.SetTime(w.clock.Now().Add(-5 * life))
		w.server.Lose(oauthtest.TokenPath, 2)
		w.onceMore()
		w.untilRetry()
		w.onceMore() // two unknown outcomes
		sent := w.server.Count(oauthtest.TokenPath)
		Expect(w.get().Status.Failure.RetryAt.Sub(w.clock.Now())).To(BeNumerically("~", life, time.Second), "the next try")
		w.clock.SetTime(w.clock.Now().Add(life - time.Minute))
		w.onceMore()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(sent), "a third try while the token may be valid")
		w.untilRetry()
		w.onceMore()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(sent+1), "no try once the token has expired for certain")
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})
