package controller

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/callback"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/matchers"
	"github.com/mcp-connection/operator/test/specs"
)

// What all specs of this package share: a real API server, its administrator's client, and who issues its tokens.
var (
	environment   *harness.APIServer
	api           client.Client
	clusterIssuer func(context.Context) string
)

const operatorNamespace = "operator"

func TestSpecs(t *testing.T) { specs.Run(t, "controller") }

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	environment, err = harness.StartAPIServer(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(environment.Stop)
	api = environment.Client
	typed, err := kubernetes.NewForConfig(environment.Config)
	Expect(err).NotTo(HaveOccurred())
	clusterIssuer = ClusterIssuer(typed.Discovery().RESTClient())
	Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}})).To(Succeed())
})

// world is one connection with everything around it: a server, the pages, a browser, a stepped clock.
type world struct {
	ctx     context.Context // of the spec
	server  *oauthtest.Server
	clock   *clocktesting.FakePassiveClock
	r       *Reconciler
	key     client.ObjectKey
	pages   *httptest.Server
	handler http.Handler // of the pages
	browser *http.Client
	events  *events.FakeRecorder
	log     captured
	// lastTry is when an endpoint that hangs was asked last.
	lastTry time.Time
	// after, if not nil, is called after each reconcile.
	after func()
}

func newWorld(configure ...func(*oauthtest.Config)) *world {
	GinkgoHelper()
	w := &world{ctx: GinkgoTB().Context(), clock: clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second)),
		events: events.NewFakeRecorder(100)}
	w.server = oauthtest.New(GinkgoTB(),
		append([]func(*oauthtest.Config){func(c *oauthtest.Config) { c.Now = w.clock.Now }}, configure...)...)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	w.must(api.Create(w.ctx, namespace))
	w.key = client.ObjectKey{Namespace: namespace.Name, Name: "c"}
	w.pages = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.handler.ServeHTTP(rw, req)
	}))
	DeferCleanup(w.pages.Close)
	w.restart()
	w.servePages()
	w.newBrowser()
	return w
}

// servePages serves the pages with what change leaves of the options.
func (w *world) servePages(change ...func(*callback.Options)) {
	GinkgoHelper()
	o := callback.Options{
		ExternalURL: w.pages.URL, Store: w.r.Store, Secrets: callback.NewLookup(api, operatorNamespace),
		Live: callback.NewLookup(api, operatorNamespace), Connections: api, Now: w.clock.Now, MachineNow: time.Now,
		Log: w.log.logger(), Audit: w.log.logger().WithName("audit"),
	}
	for _, c := range change {
		c(&o)
	}
	pages, err := callback.New(o)
	w.must(err)
	w.handler = pages
}

// restart replaces the process: everything in memory is gone.
func (w *world) restart() {
	w.r = &Reconciler{
		Client: api, Metadata: api, Secrets: api, Store: credential.NewStore(api, operatorNamespace), Recorder: w.events,
		Clock: w.clock, ClusterIssuer: clusterIssuer, ExternalURL: w.pages.URL,
		Claims: claims.Process{Holder: mcpoauth.NewState("process")},
		OAuth: mcpoauth.NewClient(mcpoauth.Options{
			AllowInsecureHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: w.clock.Now,
			Timeout: claims.ResponseTimeout,
		}),
	}
}

func (w *world) newBrowser() {
	jar, err := cookiejar.New(nil)
	w.must(err)
	w.browser = &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.Contains(req.URL.Path, "/connect/") {
			return http.ErrUseLastResponse // the outcome page would wait for the reconciler
		}
		return nil
	}}
}

func (w *world) must(err error) {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
}

// apply creates the connection and reconciles it.
func (w *world) apply(change ...func(*v1alpha1.MCPConnection)) {
	GinkgoHelper()
	w.create(change...)
	w.reconcile()
}

func (w *world) create(change ...func(*v1alpha1.MCPConnection)) {
	GinkgoHelper()
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.MCPURL()}}
	for _, c := range change {
		c(conn)
	}
	w.must(api.Create(w.ctx, conn))
}

func (w *world) edit(change func(*v1alpha1.MCPConnection)) *v1alpha1.MCPConnection {
	GinkgoHelper()
	conn := w.get()
	before := conn.DeepCopy()
	change(conn)
	w.must(api.Patch(w.ctx, conn, client.MergeFrom(before)))
	return w.reconcile()
}

// reconcile runs until nothing is asked for at once, and checks the laws of status.
func (w *world) reconcile() *v1alpha1.MCPConnection {
	GinkgoHelper()
	ctx := ctrl.LoggerInto(w.ctx, w.log.logger())
	for range 3 {
		result, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: w.key})
		w.must(err)
		if result.RequeueAfter != lifecycle.UrgentSlotRetry {
			break
		}
	}
	conn := w.get()
	if conn != nil {
		Expect(conn).To(matchers.ObeyStatusLaws(w.clock.Now()))
	}
	if w.after != nil {
		w.after()
	}
	return conn
}

func (w *world) get() *v1alpha1.MCPConnection {
	GinkgoHelper()
	conn := &v1alpha1.MCPConnection{}
	if err := api.Get(w.ctx, w.key, conn); err != nil {
		w.must(client.IgnoreNotFound(err))
		return nil
	}
	return conn
}

func (w *world) secret() map[string]string {
	GinkgoHelper()
	secret := &corev1.Secret{}
	if err := api.Get(w.ctx, client.ObjectKey{Namespace: w.key.Namespace, Name: w.key.Name + "-token"},
		secret); err != nil {
		w.must(client.IgnoreNotFound(err))
		return nil
	}
	out := map[string]string{}
	for k, v := range secret.Data {
		out[k] = string(v)
	}
	return out
}

// open presses the button of the start page and follows the redirects, up to the outcome page.
func (w *world) open(link string) int {
	GinkgoHelper()
	resp, err := w.browser.Post(link, "application/x-www-form-urlencoded", nil)
	w.must(err)
	_, err = io.Copy(io.Discard, resp.Body)
	w.must(err)
	w.must(resp.Body.Close())
	return resp.StatusCode
}

func (w *world) consent() {
	GinkgoHelper()
	if status := w.open(w.get().Status.AuthorizationURL); status != http.StatusSeeOther {
		Fail(fmt.Sprintf("the flow ended with %d", status))
	}
	w.reconcile()
}

// want checks one condition.
func (w *world) want(condition string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	Expect(w.get()).To(matchers.HaveCondition(condition, status, reason))
}

// doing is a reconcile that holds no slots.
func doing(o *lifecycle.State) *work { return &work{State: o} }
