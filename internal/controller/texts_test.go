package controller

import (
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

var _ = Describe("The issuer of a message", func() {
	It("is pasted as it is", func() {
		w := newWorld()
		w.server.Handle("/.well-known/oauth-authorization-server", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(rw,
				`{"issuer":"%[1]s/","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","code_challenge_methods_supported":["S256"]}`, w.server.URL)
		})
		w.apply()
		w.want(ready, isFalse, v1alpha1.ReasonIssuerMismatch)
		for _, condition := range []string{ready, discovered, v1alpha1.ConditionStalled} {
			Expect(quotedLast(GinkgoTB(), meta.FindStatusCondition(w.get().Status.Conditions, condition).Message)).To(
				Equal(w.server.URL+"/"), condition)
		}
		w.edit(func(c *v1alpha1.MCPConnection) {
			c.Spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: w.server.URL + "/"}
		})
		w.want(discovered, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("The redirect URI", func() {
	It("is told to whoever registers a client by hand", func() {
		w := newWorld(func(c *oauthtest.Config) { c.NoRegistration = true })
		w.apply()
		w.want(ready, isFalse, v1alpha1.ReasonNoRegistrationMethod)
		uri := credential.RedirectURI(w.pages.URL)
		Expect(quotedLast(GinkgoTB(), meta.FindStatusCondition(w.get().Status.Conditions, ready).Message)).To(Equal(uri))
		Expect(w.get().Status.Client).To(HaveValue(HaveField("RedirectURI", uri)))
		w = connected()
		Expect(w.get().Status.Client.RedirectURI).To(Equal(credential.RedirectURI(w.pages.URL)), "of a client that there is")
	})
})

var _ = Describe("An unknown annotation", func() {
	It("gets one event", func() {
		w := connected()
		w.drainEvents()
		w.edit(func(c *v1alpha1.MCPConnection) {
			c.Annotations = map[string]string{v1alpha1.Prefix + "refesh": "1", v1alpha1.Prefix + "adopt": "a/b",
				"example.com/mine": "x", v1alpha1.AnnotationRefresh: "1"}
		})
		for range 3 {
			w.untilRefresh()
			w.reconcile()
			w.restart()
		}
		var told []string
		for _, event := range w.drainEvents() {
			if strings.Contains(event, "UnknownAnnotation") {
				told = append(told, event)
			}
		}
		Expect(told).To(HaveExactElements(ContainSubstring(v1alpha1.Prefix+"adopt"),
			ContainSubstring(v1alpha1.Prefix+"refesh")))
		Expect(w.get().Status.UnknownAnnotations).To(Equal([]string{v1alpha1.Prefix + "adopt", v1alpha1.Prefix + "refesh"}))
		conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = nil })
		Expect(conn.Status.UnknownAnnotations).To(BeNil())
	})
})
