package callback

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const taken = "The Secret files-token in this namespace is not of this connection <b>"

var _ = Describe("The success page", func() {
	// consented is a browser whose consent succeeded.
	consented := func(f *fixture) *browser {
		GinkgoHelper()
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		f.finish("", "")
		return b
	}

	DescribeTable("does not tell a token that is held up as connected:", func(authorized, ready metav1.ConditionStatus,
		reason string, says ...string) {
		f := newFixture()
		b := consented(f)
		f.report(authorized, ready, reason, taken)
		w := b.open()
		expect(f, w, http.StatusOK, append(says, "is not of this connection &lt;b&gt;")...)
		Expect(w.Body.String()).NotTo(ContainSubstring("is connected"), "workloads do not have the token")
		f.report(metav1.ConditionTrue, metav1.ConditionTrue, v1alpha1.ReasonSucceeded,
			"The token Secret files-token is up to date.")
		expect(f, b.open(), http.StatusOK, "team-a/files is connected")
	},
		Entry("a Secret that is somebody's", metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict,
			"team-a/files is authorized", "stored the token and not yet published"),
		Entry("a Secret that cannot be written", metav1.ConditionTrue, metav1.ConditionFalse,
			v1alpha1.ReasonSecretWriteFailing, "team-a/files is authorized", "need not sign in again"),
		Entry("one while an older token still works", metav1.ConditionTrue, metav1.ConditionTrue,
			v1alpha1.ReasonSecretWriteFailing, "team-a/files is authorized", "need not sign in again"),
		Entry("a token that nobody can send", metav1.ConditionFalse, metav1.ConditionFalse,
			v1alpha1.ReasonUnsupportedTokenType, "is not connected", "a kind of token that cannot be used"),
	)

	It("looks again for a token that is held up", func() {
		f := newFixture()
		b := consented(f)
		f.report(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, taken)
		expect(f, b.open(), http.StatusOK, `<meta http-equiv="refresh" content="30">`)
	})

	// Another object of the same name is none of this browser's business.
	It("says nothing of another connection of that name", Label("security"), func() {
		f := newFixture()
		b := consented(f)
		f.remake()
		f.report(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, taken)
		w := b.open()
		expect(f, w, http.StatusOK, "is connected")
		Expect(w.Body.String()).NotTo(ContainSubstring("files-token"))
	})
})
