package controller

import (
	"encoding/json"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	initialToken     = "the-initial-access-token"
	initialTokenName = "may-register"
)

func isProtected(c *oauthtest.Config) { c.InitialAccessToken = initialToken }

// mayRegister refers to the Secret with the initial access token.
func mayRegister(c *v1alpha1.MCPConnection) {
	c.Spec.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: initialTokenName}}
}

// keepInitialToken puts a token into that Secret.
func (w *world) keepInitialToken(key, token string) {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: initialTokenName},
		StringData: map[string]string{key: token}}
	err := api.Create(w.ctx, secret.DeepCopy())
	if err != nil {
		err = api.Patch(w.ctx, secret, client.Merge)
	}
	w.must(err)
}

func (w *world) aMinuteLater() {
	GinkgoHelper()
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
}

// wantMessage checks that the message of Ready holds all words.
func (w *world) wantMessage(words ...string) {
	GinkgoHelper()
	message := meta.FindStatusCondition(w.get().Status.Conditions, ready).Message
	for _, word := range words {
		Expect(message).To(ContainSubstring(word))
	}
}

var _ = Describe("A protected registration", func() {
	It("says what is missing, and goes on within a minute", func() {
		w := newWorld(isProtected)
		w.apply()
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		w.wantMessage("spec.client.initialAccessTokenSecretRef")
		w.edit(mayRegister)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage(initialTokenName, w.key.Namespace, "create it", "token")
		asked := w.server.Count(oauthtest.RegisterPath)
		w.keepInitialToken("other", initialToken)
		w.aMinuteLater()
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage(initialTokenName, "has no key token")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(asked), "the server was asked without a token")
		w.keepInitialToken("token", initialToken+"\n")
		w.aMinuteLater()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		sent := w.server.Last(oauthtest.RegisterPath).Header.Get("Authorization") == "Bearer "+initialToken
		Expect(sent).To(BeTrue(), "another token was sent")
	})
})

var _ = Describe("A refused initial access token", Label("security"), func() {
	It("is named by its Secret, and a new one is used", func() {
		w := newWorld(isProtected)
		w.keepInitialToken("token", "spent-initial-access-token")
		w.apply(mayRegister)
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		w.wantMessage("401", "wrong, spent or expired", "the key token of the Secret "+initialTokenName)
		w.keepInitialToken("token", initialToken)
		w.untilRetry()
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		status, err := json.Marshal(w.get().Status)
		Expect(err).NotTo(HaveOccurred())
		for _, text := range append(w.log.all(), string(status)) {
			Expect(strings.Contains(text, "initial-access-token")).To(BeFalse(), "the log or status shows the token")
		}
	})
})
