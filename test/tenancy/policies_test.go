package tenancy

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// edit changes a spec that every policy accepts.
type edit func(*v1alpha1.MCPConnectionSpec)

// plain is a connection that every policy accepts, with changes.
func plain(name string, edits ...edit) *v1alpha1.MCPConnection {
	c := connection(watched, name, "https://mcp.example.com/mcp")
	for _, e := range edits {
		e(&c.Spec)
	}
	return c
}

func serverURL(url string) edit {
	return func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = url }
}

func compatibility(c v1alpha1.CompatibilitySpec) edit {
	return func(s *v1alpha1.MCPConnectionSpec) { s.Compatibility = &c }
}

// force applies a policy of config/policies until the node has ended, and waits until the API server heeds it: refused
// is a connection that it must not accept.
func force(ctx context.Context, file string, refused *v1alpha1.MCPConnection) {
	GinkgoHelper()
	file = harness.InRepository("config", "policies", file)
	kubectl(ctx, "apply", "-f", file)
	DeferCleanup(func(ctx SpecContext) {
		kubectl(ctx, "delete", "-f", file)
		Eventually(ctx, tried(plane.Client, refused)).Should(Succeed())
	})
	Eventually(ctx, tried(plane.Client, refused)).Should(beDenied(""))
}

// tried asks the API server what it says to a connection.
func tried(as client.Client, c *v1alpha1.MCPConnection) func(context.Context) error {
	return func(ctx context.Context) error { return as.Create(ctx, c.DeepCopy(), client.DryRunAll) }
}

// beDenied succeeds if an admission policy of this project refused a request with such words.
func beDenied(words string) types.GomegaMatcher {
	return And(
		MatchError(apierrors.IsForbidden, "forbidden"),
		MatchError(And(ContainSubstring("ValidatingAdmissionPolicy 'mcp-connection-"), ContainSubstring(words))),
	)
}

// accepted stands for a refusal's words where there should be none.
const accepted = ""

// judge asks the API server, as its administrator, for its verdict on a connection: part of a refusal's words, or
// accepted.
func judge(ctx SpecContext, c *v1alpha1.MCPConnection, want string) {
	judgeAs(ctx, plane.Client, c, want)
}

func judgeAs(ctx context.Context, as client.Client, c *v1alpha1.MCPConnection, want string) {
	GinkgoHelper()
	got := tried(as, c)(ctx)
	if want == accepted {
		Expect(got).NotTo(HaveOccurred())
		return
	}
	Expect(got).To(beDenied(want))
}

var _ = Describe("The policy of server hosts", Label("security"), Ordered, ContinueOnFailure, func() {
	const no = "not among the allowed ones"
	var older *v1alpha1.MCPConnection

	BeforeAll(func(ctx SpecContext) {
		older = plain("older", serverURL("https://not.listed.example.org/mcp"))
		Expect(plane.Client.Create(ctx, older)).To(Succeed())
		force(ctx, "server_hosts.yaml", plain("c", serverURL("https://mcp.example.org/mcp")))
	})

	DescribeTable("allows the listed hosts only:", judge,
		Entry("a listed host", plain("c"), accepted),
		Entry("with a port", plain("c", serverURL("https://mcp.example.com:8443/mcp")), accepted),
		Entry("in capitals", plain("c", serverURL("https://MCP.Example.COM/mcp")), accepted),
		Entry("a host below a listed domain", plain("c", serverURL("https://a.b.mcp.example.net/mcp?tenant=1")), accepted),
		Entry("another host", plain("c", serverURL("https://example.com/mcp")), no),
		Entry("the domain itself", plain("c", serverURL("https://mcp.example.net/mcp")), no),
		Entry("a host that ends like a domain", plain("c", serverURL("https://evil-mcp.example.net/mcp")), no),
		Entry("a host that begins like one", plain("c", serverURL("https://mcp.example.com.evil.org/mcp")), no),
		Entry("a listed host in the path", plain("c", serverURL("https://evil.org/mcp.example.com")), no),
		Entry("a listed host in the query", plain("c", serverURL("https://evil.org?mcp.example.com")), no),
		Entry("an absolute name", plain("c", serverURL("https://mcp.example.com./mcp")), no),
		Entry("an address", plain("c", serverURL("https://[::ffff:7f00:1]/mcp")), no),
		Entry("another host with a listed before", plain("c", serverURL("https://mcp.example.com.mcp.example.org/mcp")), no),
	)

	It("allows what was there before to be annotated and deleted, but not to be changed into something else "+
		"that it refuses", func(ctx SpecContext) {
		older.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "1"}
		Expect(plane.Client.Update(ctx, older)).To(Succeed())
		older.Spec.ServerURL = "https://neither.example.org/mcp"
		Expect(plane.Client.Update(ctx, older)).To(beDenied(""))
		Expect(plane.Client.Delete(ctx, older)).To(Succeed())
	})

	DescribeTable("allows listed issuers:", judge, listedIssuers)

	DescribeTable("refuses a URL of the author's own in every place:", judge,
		authorsOwn("server_hosts.yaml", "not among the allowed"))
})

var _ = Describe("The policy of compatibility", Label("security"), Ordered, ContinueOnFailure, func() {
	BeforeAll(func(ctx SpecContext) {
		force(ctx, "compatibility.yaml", plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true)})))
	})

	DescribeTable("forbids what weakens a flow:", judge,
		Entry("no deviation", plain("c"), accepted),
		Entry("those that are named",
			plain("c", compatibility(v1alpha1.CompatibilitySpec{OfflineAccess: v1alpha1.OfflineAccessAlways,
				ScopeOnRefresh: ptr.To(true)})), accepted),
		Entry("the default of each", plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(false),
			LegacyEndpoints: ptr.To(false), Resource: &v1alpha1.ResourceSpec{}})), accepted),
		Entry("a pinned issuer", plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: "https://issuer.example.com"}
		}), accepted),
		Entry("PKCE that is not shown", plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true)})),
			"assumePKCES256"),
		Entry("an old server", plain("c", compatibility(v1alpha1.CompatibilitySpec{LegacyEndpoints: ptr.To(true)})),
			"legacyEndpoints"),
		Entry("no resource", plain("c", compatibility(v1alpha1.CompatibilitySpec{
			Resource: &v1alpha1.ResourceSpec{Mode: v1alpha1.ResourceModeOmit}})), "compatibility.resource"),
		Entry("parameters of a consent", plain("c", compatibility(v1alpha1.CompatibilitySpec{
			AuthorizationParameters: map[string]v1alpha1.ParameterValue{"access_type": "offline"}})), "authorizationParameters"),
		Entry("parameters of a token", plain("c", compatibility(v1alpha1.CompatibilitySpec{
			TokenParameters: map[string]v1alpha1.ParameterValue{"audience": "x"}})), "tokenParameters"),
		Entry("endpoints", plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: "https://i.example.com",
				AuthorizationEndpoint: "https://i.example.com/a", TokenEndpoint: "https://i.example.com/t"}
		}), "endpoints"),
	)

	DescribeTable("refuses a URL of the author's own in every place:", judge,
		authorsOwn("compatibility.yaml", "must have metadata"))
})
