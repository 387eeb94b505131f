package controller

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var _ = Describe("A value that is accepted", Label("security"), func() {
	// A client of the types reads all objects of a list or none, so one that it cannot read would end the operator for
	// everybody.
	It("never ends the list of all", func(ctx SpecContext) {
		w := connected()
		refused := 0
		try := func(write func(*v1alpha1.MCPConnection, client.Patch) error, patch string) {
			GinkgoHelper()
			conn := w.get()
			if write(conn, client.RawPatch(types.MergePatchType, []byte(patch))) != nil {
				refused++
			}
			Expect(w.r.Secrets.List(ctx, &v1alpha1.MCPConnectionList{}, client.InNamespace(w.key.Namespace))).To(Succeed(),
				"%s is accepted", patch)
		}
		spec := func(c *v1alpha1.MCPConnection, p client.Patch) error { return w.r.Client.Patch(ctx, c, p) }
		status := func(c *v1alpha1.MCPConnection, p client.Patch) error {
			return w.r.Client.Status().Patch(ctx, c, p)
		}
		times := []string{"2026-03-01t12:00:00Z", "2026-03-01T12:00:00z", "2026-03-01T12:00:00+99:99",
			"2026-03-01T12:00:00+01:00", "2026-03-01T24:00:00Z",
			"2026-02-30T12:00:00Z", "2026-03-01T23:59:60Z", "2026-03-01", "2026-03-01T12:00:00Z ", "2026-03-01T12:00:00.Z", ""}
		for _, at := range times {
			for _, field := range []string{
				`{"token":{"expiresAt":%q}}`, `{"next":{"at":%q}}`, `{"next":{"computedAt":%q}}`, `{"server":{"probedAt":%q}}`,
				`{"client":{"expiresAt":%q}}`,
				`{"failure":{"step":"refresh","since":%q}}`,
				`{"conditions":[{"type":"Ready","status":"True","reason":"Succeeded","message":"","lastTransitionTime":%q}]}`,
			} {
				try(status, `{"status":`+fmt.Sprintf(field, at)+`}`)
			}
		}
		for _, field := range []string{`{"server":{"tools":4294967296}}`, `{"observedGeneration":1e30}`,
			`{"failure":{"step":"refresh","attempts":4294967296}}`} {
			try(status, `{"status":`+field+`}`)
		}
		Expect(refused).To(Equal(7*len(times)+3), "how many are refused")
		for _, d := range []string{"1h1h", "+5m", ".5h", "5m.", "1µs1h", "1h-1m", "9999999999h", "0x5m", "1e3s", "5m ", "５m",
			"1H", "300000000us"} {
			for _, field := range []string{`{"refresh":{"before":%q}}`, `{"refresh":{"keepAlive":%q}}`,
				`{"probe":{"interval":%q}}`} {
				try(spec, `{"spec":`+fmt.Sprintf(field, d)+`}`)
			}
		}
	})
})
