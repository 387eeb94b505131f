package controller

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var _ = Describe("A line break in a referenced Secret", func() {
	It("is sent nowhere", func() {
		w := newWorld()
		w.registerByHand(firstSecret, "")
		w.keep(credentialName, map[string]string{"client_id": registeredID + "\n", "client_secret": firstSecret + "\r\n"})
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})
