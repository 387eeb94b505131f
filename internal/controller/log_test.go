package controller

import (
	"net/http"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// said are the lines of the log about changes of state, without their values, since the last call.
func (w *world) said() []string {
	GinkgoHelper()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	var out []string
	for _, line := range w.log.lines {
		if m := regexp.MustCompile(
			`"level"=(\d) "msg"="(registered|authorized|refreshed|revoked|failed|healed)"(?:.* "step"="(\w+)")?`).FindStringSubmatch(line); m != nil {
			out = append(out, strings.TrimSpace(m[1]+" "+m[2]+" "+m[3]))
		}
	}
	w.log.lines = nil
	return out
}

var _ = Describe("The log", func() {
	It("has one line for each change of state", func(ctx SpecContext) {
		w := newWorld()
		want := func(when string, lines ...string) {
			GinkgoHelper()
			Expect(strings.Join(w.said(), ", ")).To(Equal(strings.Join(lines, ", ")), when)
		}
		w.apply()
		want("when the connection is new", "0 registered")
		w.consent()
		want("after the consent", "0 authorized")
		w.untilRefresh()
		w.reconcile()
		want("after a refresh", "1 refreshed")
		w.server.HandleTimes(oauthtest.TokenPath, 2,
			func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
		w.untilRefresh()
		w.reconcile()
		want("when a refresh fails", "0 failed refresh")
		w.untilRetry()
		w.reconcile()
		want("when it fails in the same way again")
		w.untilRetry()
		w.reconcile()
		want("when it succeeds", "1 refreshed", "0 healed refresh")
		w.reconcile()
		want("when nothing happens")
		w.edit(func(c *v1alpha1.MCPConnection) {
			c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "a leak"}
		})
		want("when the grant is revoked", "0 revoked")
		w.consent()
		want("after another consent", "0 authorized")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		want("when the connection is deleted", "0 revoked")
	})
})
