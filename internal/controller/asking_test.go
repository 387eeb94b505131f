package controller

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// occupy takes all slots of a host that work of an urgency may hold, each for another namespace, and returns what gives
// them back.
func (w *world) occupy(url string, u slots.Urgency) (leave func()) {
	GinkgoHelper()
	leave, n := w.fill(url, u, func(i int) string { return fmt.Sprint("other-", i) })
	Expect(n).NotTo(BeZero(), "the host is full already")
	return leave
}

// free is how many more requests the connection's namespace may make to its server at once.
func (w *world) free() int {
	GinkgoHelper()
	leave, n := w.fill(w.server.URL, slots.DueExchange, func(int) string { return w.key.Namespace })
	leave()
	return n
}

// fill takes slots of a host as long as there are any, and returns what gives them back, and their number.
func (w *world) fill(url string, u slots.Urgency, namespace func(i int) string) (leave func(), n int) {
	var passes []*slots.Pass
	for p := w.unqueuedPass(namespace(0)); p.Take(url, u, w.clock.Now()); p = w.unqueuedPass(namespace(len(passes))) {
		passes = append(passes, p)
	}
	return func() {
		for _, p := range passes {
			p.Release()
		}
	}, len(passes)
}

// unqueuedPass takes slots for somebody else.
func (w *world) unqueuedPass(namespace string) *slots.Pass {
	return w.r.slots.UnqueuedPass(types.NamespacedName{Namespace: namespace, Name: "x"})
}

// one makes one reconcile.
func (w *world) one() ctrl.Result {
	GinkgoHelper()
	result, err := w.r.Reconcile(ctrl.LoggerInto(w.ctx, w.log.logger()), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result
}

// askedFor has an annotation ask for something, with no reconcile after it.
func askedFor(annotation, value string) func(*world) {
	return func(w *world) {
		conn := w.get()
		conn.Annotations = map[string]string{annotation: value}
		w.must(api.Update(w.ctx, conn))
	}
}

var _ = DescribeTable("A request to a server waits for a slot:", func(begin func(*world), path string) {
	w := connected()
	leave := w.occupy(w.server.URL, slots.Ordinary)
	before := len(w.server.Requests())
	begin(w)
	result := w.one()
	sent := len(w.server.Requests()) - before
	Expect(sent).To(BeZero(), "requests without a slot")
	Expect(result.RequeueAfter).NotTo(BeZero(), "it is not looked at again")
	conn := w.get()
	Expect(conn).NotTo(BeNil())
	Expect(conn.Status.Failure).To(BeNil(), "waiting counts as a failure")
	count := w.server.Count(path)
	leave()
	w.one()
	w.one()
	Expect(w.server.Count(path)).To(BeNumerically(">", count), "nothing was sent once there was a slot")
},
	Entry("the revocation of a deletion", func(w *world) { w.must(api.Delete(w.ctx, w.get())) }, oauthtest.RevokePath),
	Entry("the revocation that was asked for", askedFor(v1alpha1.AnnotationRevoke, "leaked"), oauthtest.RevokePath),
	Entry("the discovery that was asked for", askedFor(v1alpha1.AnnotationReauthorize, "now"), oauthtest.MCPPath),
	Entry("the refresh that was asked for", askedFor(v1alpha1.AnnotationRefresh, "now"), oauthtest.TokenPath),
)

var _ = Describe("A code and a due refresh", func() {
	It("find a slot where other work waits", func() {
		w := newWorld()
		w.apply()
		leave := w.occupy(w.server.URL, slots.Ordinary)
		defer leave()
		w.consent()
		w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
		before := w.server.Count(oauthtest.TokenPath)
		w.untilRefresh()
		w.one()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(before+1), "the due refresh waits")
	})
})

var _ = Describe("The authorization server of a discovery", func() {
	It("has slots of its own", func() {
		w, idp := newWorld(), oauthtest.New(GinkgoTB())
		w.server.Edit(oauthtest.ResourceMetadataPath, 10,
			func(m map[string]any) { m["authorization_servers"] = []string{idp.Issuer()} })
		leave := w.occupy(idp.URL, slots.Ordinary)
		w.apply()
		asked := len(idp.Requests())
		Expect(asked).To(BeZero(), "requests to the full authorization server")
		Expect(w.get().Status.Failure).To(BeNil())
		leave()
		w.one()
		Expect(idp.Requests()).NotTo(BeEmpty(), "it is not asked once there is a slot")
	})
})

var _ = Describe("The credentials of a vanished connection", func() {
	It("are revoked when there is a slot", func() {
		w := connected()
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		leave := w.occupy(w.server.URL, slots.Ordinary)
		again := w.orphans(credentialKey(uid))
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "revocations without a slot")
		Expect(again).NotTo(BeZero(), "they are not looked at again")
		leave()
		w.orphans(credentialKey(uid))
		Expect(w.server.Count(oauthtest.RevokePath)).NotTo(BeZero(), "nothing was revoked once there was a slot")
	})
})

var _ = Describe("The result of a reconcile", func() {
	It("says how urgent its time is", func() {
		w := connected()
		expiry := w.get().Status.Token.ExpiresAt.Time
		Expect(w.one().Priority).To(HaveValue(Equal(int(slots.DueRefresh) - int(expiry.Unix()))))
	})
})
