package tenancy

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/matchers"
)

// flagsOfTheManifest are those of the Deployment, but for the address at which browsers reach it.
func flagsOfTheManifest(ctx context.Context) []string {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(plane.Client.Get(ctx, key(harness.OperatorNamespace, harness.OperatorServiceAccount), deployment)).To(Succeed())
	flags := slices.DeleteFunc(deployment.Spec.Template.Spec.Containers[0].Args, func(flag string) bool {
		return strings.HasPrefix(flag, "--external-url=")
	})
	Expect(flags).To(ContainElement(HavePrefix("--watch-namespaces="+watched)),
		"the Deployment of config/namespaced watches other namespaces")
	return flags
}

// connection is in a namespace and wants a token for the server.
func connection(namespace, name, serverURL string) *v1alpha1.MCPConnection {
	return &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.MCPConnectionSpec{ServerURL: serverURL},
	}
}

// leftBehind is a credential Secret whose connection is not there.
func leftBehind(uid types.UID, namespace string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: harness.OperatorNamespace, Name: credential.SecretName(uid),
		Labels: map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
			v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential},
		Annotations: map[string]string{credential.AnnotationConnection: namespace + "/gone",
			credential.AnnotationUID: string(uid)},
	}}
}

var _ = Describe("An operator limited to Roles", func() {
	// The operator's binary runs as its ServiceAccount, with the flags and the Roles of config/namespaced and no others,
	// through a connection's life.
	It("does its whole job", Label("security", "slow"), func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.AccessTokenLifetime = 12 * time.Second })
		server.Edit(oauthtest.TokenPath, -1, func(answer map[string]any) { answer["refresh_expires_in"] = 86400 })
		orphan, stranger := leftBehind("11111111-0000-4000-8000-000000000001", watched),
			leftBehind("11111111-0000-4000-8000-000000000002", unwatched)
		create(ctx, orphan, stranger, connection(unwatched, "ignored", server.MCPURL()))
		// As if no operator had ever run here.
		for _, namespace := range []string{harness.OperatorNamespace, metav1.NamespaceDefault} {
			Expect(plane.Client.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(namespace))).To(Succeed())
		}
		metrics, before := freeAddress(), auditedSoFar()
		operator := operate(ctx, "--metrics-bind-address="+metrics)
		beside := besides(ctx, server)
		c := connection(watched, "limited", server.MCPURL())
		Expect(plane.Client.Create(ctx, c)).To(Succeed())
		reader := tokenOf(ctx, "prometheus", "mcp-connection-metrics-reader")
		life(ctx, operator, server, c, func() { metricsAreAsTheReferenceSays(ctx, metrics, reader) })
		metricsAreForWhoMayReadThem(ctx, metrics, reader)
		for _, b := range beside {
			Expect(plane.Client.Delete(ctx, b)).To(Succeed())
			awaitGone(ctx, key(b.Namespace, b.Name))
		}

		By("leaving alone what is in another namespace")
		ignored, err := plane.Connection(ctx, key(unwatched, "ignored"))
		Expect(err).NotTo(HaveOccurred())
		Expect(ignored.Status.Conditions).To(BeEmpty())
		Expect(ignored.Finalizers).To(BeEmpty())
		Eventually(ctx, func() (map[string]string, error) {
			err := plane.Client.Get(ctx, key(orphan.Namespace, orphan.Name), orphan)
			return orphan.Annotations, err
		}).Should(HaveKeyWithValue(v1alpha1.Prefix+"orphaned-since", Not(BeEmpty())),
			"the connection of this credential is gone past its finalizer")
		Expect(plane.Client.Get(ctx, key(stranger.Namespace, stranger.Name), stranger)).To(Succeed())
		Expect(stranger.Annotations).To(HaveLen(2), "the credential of another namespace")

		By("failing no reconcile, and using its rights and no others")
		Expect(slices.Collect(strings.Lines(operator.Log()))).NotTo(
			ContainElement(ContainSubstring(`"msg":"Reconciler error"`)))
		rightsWereEnoughAndNeeded(ctx, audited(before))
	})
})

// besides are connections in states that a life does not come through: one waits for a person, one fails, and one is
// suspended.
func besides(ctx context.Context, server *oauthtest.Server) []*v1alpha1.MCPConnection {
	GinkgoHelper()
	waits, fails, suspended := connection(watched, "waits", server.MCPURL()),
		connection(watched, "fails", "http://127.0.0.1:1/mcp"), connection(watched, "suspended", server.MCPURL())
	suspended.Spec.Suspend = ptr.To(true)
	for c, reason := range map[*v1alpha1.MCPConnection]string{waits: v1alpha1.ReasonConsentRequired,
		fails: v1alpha1.ReasonServerUnreachable, suspended: v1alpha1.ReasonSuspended} {
		Expect(plane.Client.Create(ctx, c)).To(Succeed())
		await(ctx, key(c.Namespace, c.Name), matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason))
	}
	return []*v1alpha1.MCPConnection{waits, fails, suspended}
}

// life leads a connection from its creation to its end. meanwhile is called when it has had a refresh.
func life(ctx context.Context, operator *harness.Operator, server *oauthtest.Server, c *v1alpha1.MCPConnection,
	meanwhile func()) {
	GinkgoHelper()
	at := key(c.Namespace, c.Name)
	By("taking a consent")
	consent(ctx, at, harness.Consent{Expect: []string{server.MCPURL(), at.String()}})
	found := await(ctx, at, And(matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue,
		v1alpha1.ReasonSucceeded), matchers.HoldToken(metav1.Time{})))
	first := validToken(ctx, server, found)
	By("refreshing the token")
	refreshed := await(ctx, at, matchers.HoldToken(*found.Status.Token.IssuedAt))
	Expect(validToken(ctx, server, refreshed)).NotTo(Equal(first), "the refresh changed nothing")
	meanwhile()
	By("revoking the grant of a connection that is deleted, after a restart")
	Expect(operator.Restart(ctx)).To(Succeed())
	held := key(harness.OperatorNamespace, credential.SecretName(c.UID))
	Expect(plane.Client.Get(ctx, held, &corev1.Secret{})).To(Succeed())
	Expect(plane.Client.Delete(ctx, found)).To(Succeed())
	awaitGone(ctx, at)
	Expect(server.Count(oauthtest.RevokePath)).NotTo(BeZero(), "nothing was revoked")
	for _, gone := range []types.NamespacedName{held, key(c.Namespace, c.Name+"-token")} {
		Expect(plane.Client.Get(ctx, gone, &corev1.Secret{})).To(MatchError(apierrors.IsNotFound, "not found"),
			"the Secret %s", gone)
	}
}

// validToken is the published one, which the server must accept.
func validToken(ctx context.Context, server *oauthtest.Server, c *v1alpha1.MCPConnection) string {
	GinkgoHelper()
	data, err := plane.TokenSecret(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	token := data[v1alpha1.KeyAccessToken]
	Expect(server.ValidAccessToken(token)).To(BeTrue(), "the published token is not valid")
	return token
}

// theFallback is what a watch asks of an API server that cannot stream the first list.
const theFallback = "a list comes before the watch where the API server cannot stream it"

// unseen are rights that no request of the audit log shows.
var unseen = map[string]string{
	"update mcpconnections/finalizers.mcp-connection.dev in " + watched: "asked for by the admission plugin " +
		"OwnerReferencesPermissionEnforcement",
	"patch events.events.k8s.io in " + watched:             "an event that repeats is patched",
	"list mcpconnections.mcp-connection.dev in " + watched: theFallback,
	"list secrets. in " + watched:                          theFallback,
	"list secrets. in " + harness.OperatorNamespace:        theFallback,
	"patch events. in " + harness.OperatorNamespace:        "an event that repeats is patched",
}

// rightsWereEnoughAndNeeded reads the audit log of a whole life: nothing was refused, and no Role gives what nobody
// used.
func rightsWereEnoughAndNeeded(ctx context.Context, requests []request) {
	GinkgoHelper()
	var refused, unused []string
	for _, r := range requests {
		if r.ResponseStatus.Code == http.StatusForbidden && !strings.Contains(r.RequestURI, "/"+unwatched+"/") &&
			!strings.HasSuffix(r.RequestURI, "/nodes?limit=1") {
			refused = append(refused, r.Verb+" "+r.RequestURI)
		}
	}
	Expect(refused).To(BeEmpty(), "the operator asked for them")
	seen := used(requests)
	for _, name := range []types.NamespacedName{
		key(watched, "mcp-connection-tenant-role"),
		key(harness.OperatorNamespace, "mcp-connection-manager-role"),
		key(harness.OperatorNamespace, "mcp-connection-leader-election-role"),
		key(metav1.NamespaceDefault, "mcp-connection-api-server-addresses"),
		key(metav1.NamespaceDefault, "mcp-connection-scope"),
	} {
		role := &rbacv1.Role{}
		Expect(plane.Client.Get(ctx, name, role)).To(Succeed())
		for _, right := range granted(role) {
			if !seen[right] && unseen[right] == "" {
				unused = append(unused, name.String()+": "+right)
			}
		}
	}
	Expect(unused).To(BeEmpty(), "these Roles give rights that a whole life does not use")
}

var _ = Describe("An operator limited to Roles", Label("security"), Ordered, ContinueOnFailure, func() {
	var core typedcorev1.CoreV1Interface

	BeforeAll(func(ctx SpecContext) {
		file, err := plane.OperatorKubeconfig(ctx)
		Expect(err).NotTo(HaveOccurred())
		config, err := clientcmd.BuildConfigFromFlags("", file)
		Expect(err).NotTo(HaveOccurred())
		set, err := kubernetes.NewForConfig(config)
		Expect(err).NotTo(HaveOccurred())
		core = set.CoreV1()
		for _, namespace := range []string{watched, unwatched} {
			create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "theirs"},
				StringData: map[string]string{"password": "x"}})
		}
	})

	It("reads the Secrets of the namespace that it watches", func(ctx SpecContext) {
		_, err := core.Secrets(watched).Get(ctx, "theirs", metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
	})

	DescribeTable("is forbidden what it was not given:", func(ctx SpecContext, do func(context.Context) error) {
		Expect(do(ctx)).To(MatchError(apierrors.IsForbidden, "forbidden"))
	},
		Entry("getting a Secret of another namespace", func(ctx context.Context) error {
			_, err := core.Secrets(unwatched).Get(ctx, "theirs", metav1.GetOptions{})
			return err
		}),
		Entry("listing the Secrets of another namespace", func(ctx context.Context) error {
			_, err := core.Secrets(unwatched).List(ctx, metav1.ListOptions{})
			return err
		}),
		Entry("listing the Secrets of all namespaces", func(ctx context.Context) error {
			_, err := core.Secrets("").List(ctx, metav1.ListOptions{})
			return err
		}),
		Entry("creating a Secret in another namespace", func(ctx context.Context) error {
			_, err := core.Secrets(unwatched).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "ours"}},
				metav1.CreateOptions{})
			return err
		}),
		Entry("deleting a Secret of another namespace", func(ctx context.Context) error {
			return core.Secrets(unwatched).Delete(ctx, "theirs", metav1.DeleteOptions{})
		}),
		Entry("listing the ConfigMaps of the namespace where it is at home", func(ctx context.Context) error {
			_, err := core.ConfigMaps(harness.OperatorNamespace).List(ctx, metav1.ListOptions{})
			return err
		}),
	)
})
