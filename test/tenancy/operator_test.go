package tenancy

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
)

// patience bounds every single wait.
const patience = time.Minute

// flagsOfTheManifest are those of the Deployment, but for the address at which browsers reach it.
func flagsOfTheManifest(t *testing.T) []string {
	t.Helper()
	deployment := &appsv1.Deployment{}
	must(t, plane.Client.Get(t.Context(), key(harness.OperatorNamespace, harness.OperatorServiceAccount), deployment))
	flags := slices.DeleteFunc(deployment.Spec.Template.Spec.Containers[0].Args, func(flag string) bool {
		return strings.HasPrefix(flag, "--external-url=")
	})
	if !slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--watch-namespaces="+watched) }) {
		t.Fatalf("the Deployment of config/namespaced watches other namespaces: %v", flags)
	}
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
		Labels:      map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential},
		Annotations: map[string]string{credential.AnnotationConnection: namespace + "/gone", credential.AnnotationUID: string(uid)},
	}}
}

// TestAnOperatorLimitedToRolesDoesItsWholeJob runs the operator's binary as its ServiceAccount, with the flags and the
// Roles of config/namespaced and no others, through a connection's life.
func TestAnOperatorLimitedToRolesDoesItsWholeJob(t *testing.T) {
	plane, ctx := controlPlane(t), t.Context()
	server := oauthtest.New(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = 12 * time.Second })
	server.Edit(oauthtest.TokenPath, -1, func(answer map[string]any) { answer["refresh_expires_in"] = 86400 })
	orphan, stranger := leftBehind("11111111-0000-4000-8000-000000000001", watched), leftBehind("11111111-0000-4000-8000-000000000002", unwatched)
	must(t, plane.Client.Create(ctx, orphan))
	must(t, plane.Client.Create(ctx, stranger))
	ignored := connection(unwatched, "ignored", server.MCPURL())
	must(t, plane.Client.Create(ctx, ignored))
	metrics := freeAddress(t)
	operator, err := harness.StartOperator(ctx, plane, append(flagsOfTheManifest(t), "--metrics-bind-address="+metrics)...)
	must(t, err)
	t.Cleanup(func() {
		if err := operator.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(operator.LogTail(30))
		}
	})
	beside := besides(t, server)
	c := connection(watched, "limited", server.MCPURL())
	must(t, plane.Client.Create(ctx, c))
	reader := tokenOf(t, "prometheus", "mcp-connection-metrics-reader")
	life(t, operator, server, c, func() { metricsAreAsTheReferenceSays(t, metrics, reader) })
	metricsAreForWhoMayReadThem(t, metrics, reader)
	for _, b := range beside {
		must(t, plane.Client.Delete(ctx, b))
		must(t, plane.WaitGone(ctx, &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}}, patience))
	}

	if _, err := plane.WaitFor(ctx, key(unwatched, "ignored"), patience, "nothing", func(c *v1alpha1.MCPConnection) bool {
		return len(c.Status.Conditions) == 0 && len(c.Finalizers) == 0
	}); err != nil {
		t.Errorf("a connection of a namespace that is not watched was touched: %v", err)
	}
	orphanIsMarked(t, orphan)
	must(t, plane.Client.Get(ctx, key(stranger.Namespace, stranger.Name), stranger))
	if len(stranger.Annotations) != 2 {
		t.Errorf("a credential of a namespace that is not watched was touched: %v", stranger.Annotations)
	}
	for line := range strings.Lines(operator.Log()) {
		if strings.Contains(line, `"msg":"Reconciler error"`) {
			t.Errorf("a reconcile failed: %s", line)
		}
	}
	rightsWereEnoughAndNeeded(t)
}

// besides are connections in states that a life does not come through: one waits for a person, one fails, and one is suspended.
func besides(t *testing.T, server *oauthtest.Server) []*v1alpha1.MCPConnection {
	t.Helper()
	waits, fails, suspended := connection(watched, "waits", server.MCPURL()), connection(watched, "fails", "http://127.0.0.1:1/mcp"), connection(watched, "suspended", server.MCPURL())
	suspended.Spec.Suspend = ptr.To(true)
	for c, reason := range map[*v1alpha1.MCPConnection]string{waits: v1alpha1.ReasonConsentRequired, fails: v1alpha1.ReasonServerUnreachable, suspended: v1alpha1.ReasonSuspended} {
		must(t, plane.Client.Create(t.Context(), c))
		_, err := plane.WaitCondition(t.Context(), key(c.Namespace, c.Name), patience, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
		must(t, err)
	}
	return []*v1alpha1.MCPConnection{waits, fails, suspended}
}

// life leads a connection from its creation to its end. meanwhile is called when it has had a refresh.
func life(t *testing.T, operator *harness.Operator, server *oauthtest.Server, c *v1alpha1.MCPConnection, meanwhile func()) {
	t.Helper()
	ctx, at := t.Context(), key(c.Namespace, c.Name)
	found, err := plane.WaitFor(ctx, at, patience, "the link for the consent", func(c *v1alpha1.MCPConnection) bool {
		return c.Status.AuthorizationURL != ""
	})
	must(t, err)
	page, err := harness.NewBrowser().Consent(ctx, found.Status.AuthorizationURL, harness.Consent{Expect: []string{server.MCPURL(), at.String()}})
	must(t, err)
	if page.Status != http.StatusOK {
		t.Fatalf("the consent ended with %d: %s", page.Status, page.Text)
	}
	found, err = plane.WaitCondition(ctx, at, patience, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	must(t, err)
	first := validToken(t, server, found)
	refreshed, err := plane.WaitFor(ctx, at, patience, "a refresh", func(c *v1alpha1.MCPConnection) bool {
		return c.Status.Token != nil && c.Status.Token.IssuedAt != nil && found.Status.Token.IssuedAt.Before(c.Status.Token.IssuedAt)
	})
	must(t, err)
	second := validToken(t, server, refreshed)
	if first == second {
		t.Error("the refresh changed nothing")
	}
	meanwhile()
	must(t, operator.Restart(ctx))
	held := key(harness.OperatorNamespace, credential.SecretName(c.UID))
	must(t, plane.Client.Get(ctx, held, &corev1.Secret{}))
	must(t, plane.Client.Delete(ctx, found))
	must(t, plane.WaitGone(ctx, &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, Name: at.Name}}, patience))
	if server.Count(oauthtest.RevokePath) == 0 {
		t.Error("nothing was revoked")
	}
	for _, gone := range []types.NamespacedName{held, key(c.Namespace, c.Name+"-token")} {
		if err := plane.Client.Get(ctx, gone, &corev1.Secret{}); !apierrors.IsNotFound(err) {
			t.Errorf("the Secret %s is left: %v", gone, err)
		}
	}
}

// validToken is the published one, which the server must accept.
func validToken(t *testing.T, server *oauthtest.Server, c *v1alpha1.MCPConnection) string {
	t.Helper()
	data, err := plane.TokenSecret(t.Context(), c)
	must(t, err)
	token := data[v1alpha1.KeyAccessToken]
	if !server.ValidAccessToken(token) {
		t.Fatal("the published token is not valid")
	}
	return token
}

// orphanIsMarked waits until the operator has noticed that a connection is gone past its finalizer.
func orphanIsMarked(t *testing.T, orphan *corev1.Secret) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for orphan.Annotations[v1alpha1.Prefix+"orphaned-since"] == "" {
		if time.Now().After(deadline) {
			t.Fatal("the orphaned credential is not marked")
		}
		must(t, plane.Client.Get(t.Context(), key(orphan.Namespace, orphan.Name), orphan))
	}
}

// theFallback is what a watch asks of an API server that cannot stream the first list.
const theFallback = "a list comes before the watch where the API server cannot stream it"

// unseen are rights that no request of the audit log shows.
var unseen = map[string]string{
	"update mcpconnections/finalizers.mcp-connection.dev in " + watched: "asked for by the admission plugin OwnerReferencesPermissionEnforcement",
	"patch events.events.k8s.io in " + watched:                          "an event that repeats is patched",
	"list mcpconnections.mcp-connection.dev in " + watched:              theFallback,
	"list secrets. in " + watched:                                       theFallback,
	"list secrets. in " + harness.OperatorNamespace:                     theFallback,
	"patch events. in " + harness.OperatorNamespace:                     "an event that repeats is patched",
}

// rightsWereEnoughAndNeeded reads the audit log: nothing was refused, and no Role gives what nobody used.
func rightsWereEnoughAndNeeded(t *testing.T) {
	t.Helper()
	requests := audited(t)
	for _, r := range requests {
		if r.ResponseStatus.Code == http.StatusForbidden && !strings.Contains(r.RequestURI, "/"+unwatched+"/") && !strings.HasSuffix(r.RequestURI, "/nodes?limit=1") {
			t.Errorf("the operator was refused: %s %s", r.Verb, r.RequestURI)
		}
	}
	seen := used(requests)
	for _, name := range []types.NamespacedName{
		key(watched, "mcp-connection-tenant-role"),
		key(harness.OperatorNamespace, "mcp-connection-manager-role"),
		key(harness.OperatorNamespace, "mcp-connection-leader-election-role"),
		key(metav1.NamespaceDefault, "mcp-connection-api-server-addresses"),
		key(metav1.NamespaceDefault, "mcp-connection-scope"),
	} {
		role := &rbacv1.Role{}
		must(t, plane.Client.Get(t.Context(), name, role))
		for _, right := range granted(role) {
			if !seen[right] && unseen[right] == "" {
				t.Errorf("the Role %s gives a right that a whole life does not use: %s", name, right)
			}
		}
	}
}

func TestTheOperatorLimitedToRolesReadsNoSecretOfOtherNamespaces(t *testing.T) {
	plane, ctx := controlPlane(t), t.Context()
	file, err := plane.OperatorKubeconfig(ctx)
	must(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", file)
	must(t, err)
	set, err := kubernetes.NewForConfig(config)
	must(t, err)
	for _, namespace := range []string{watched, unwatched} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "theirs"}, StringData: map[string]string{"password": "x"}}
		must(t, plane.Client.Create(ctx, secret))
	}
	if _, err := set.CoreV1().Secrets(watched).Get(ctx, "theirs", metav1.GetOptions{}); err != nil {
		t.Errorf("referenced Secrets of the watched namespace cannot be read: %v", err)
	}
	for what, refused := range map[string]func() error{
		"get": func() error {
			_, err := set.CoreV1().Secrets(unwatched).Get(ctx, "theirs", metav1.GetOptions{})
			return err
		},
		"list": func() error {
			_, err := set.CoreV1().Secrets(unwatched).List(ctx, metav1.ListOptions{})
			return err
		},
		"list of all namespaces": func() error {
			_, err := set.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
			return err
		},
		"create": func() error {
			_, err := set.CoreV1().Secrets(unwatched).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "ours"}}, metav1.CreateOptions{})
			return err
		},
		"delete": func() error {
			return set.CoreV1().Secrets(unwatched).Delete(ctx, "theirs", metav1.DeleteOptions{})
		},
		"list of ConfigMaps where it is at home": func() error {
			_, err := set.CoreV1().ConfigMaps(harness.OperatorNamespace).List(ctx, metav1.ListOptions{})
			return err
		},
	} {
		if err := refused(); !apierrors.IsForbidden(err) {
			t.Errorf("%s in a namespace that is not watched: %v, want Forbidden", what, err)
		}
	}
}
