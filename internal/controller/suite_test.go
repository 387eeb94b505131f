package controller

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/callback"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/specs"
)

// api is a client of the real API server that all tests of this package share. controlPlane starts it.
var api client.Client

// environment is that API server; nil as long as no test wanted one.
var environment *envtest.Environment

// clusterIssuer finds out who issues that API server's tokens.
var clusterIssuer func(context.Context) string

const operatorNamespace = "operator"

func TestSpecs(t *testing.T) { specs.Run(t, "controller") }

var _ = BeforeSuite(func() { Expect(controlPlane()).To(Succeed()) })

func TestMain(m *testing.M) {
	code := m.Run()
	if environment != nil {
		if err := environment.Stop(); err != nil {
			log.Print(err)
		}
	}
	os.Exit(code)
}

// controlPlane starts the API server for the first test that wants it: tests of pure functions, and the workers of
// fuzz tests, need none.
var controlPlane = sync.OnceValue(func() error {
	environment = &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true}
	assets, err := harness.Assets(context.Background())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "controller-")
	if err != nil {
		return err
	}
	environment.BinaryAssetsDirectory = assets
	if err := harness.EndWithThisProcess(environment, assets, dir); err != nil {
		return err
	}
	config, err := environment.Start()
	if err != nil {
		return err
	}
	if err := clientgoscheme.AddToScheme(clientgoscheme.Scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(clientgoscheme.Scheme); err != nil {
		return err
	}
	config.QPS, config.Burst = 1000, 1000
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	clusterIssuer = ClusterIssuer(typed.Discovery().RESTClient())
	if api, err = client.New(config, client.Options{Scheme: clientgoscheme.Scheme}); err != nil {
		return err
	}
	return api.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}})
})

// world is one connection with everything around it: a server, the pages, a browser, a stepped clock.
type world struct {
	t       testing.TB
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

func newWorld(t testing.TB, configure ...func(*oauthtest.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second)), events: events.NewFakeRecorder(100)}
	w.must(controlPlane())
	w.server = oauthtest.New(t, append([]func(*oauthtest.Config){func(c *oauthtest.Config) { c.Now = w.clock.Now }}, configure...)...)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	w.must(api.Create(t.Context(), namespace))
	w.key = client.ObjectKey{Namespace: namespace.Name, Name: "c"}
	w.pages = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) { w.handler.ServeHTTP(rw, req) }))
	t.Cleanup(w.pages.Close)
	w.restart()
	w.servePages()
	w.newBrowser()
	return w
}

// servePages serves the pages with what change leaves of the options.
func (w *world) servePages(change ...func(*callback.Options)) {
	w.t.Helper()
	o := callback.Options{
		ExternalURL: w.pages.URL, Store: w.r.Store, Secrets: callback.NewLookup(api, operatorNamespace), Live: callback.NewLookup(api, operatorNamespace), Connections: api, Now: w.clock.Now, MachineNow: time.Now,
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
		Clock: w.clock, ClusterIssuer: clusterIssuer, ExternalURL: w.pages.URL, Claims: claims.Process{Holder: mcpoauth.NewState("process")},
		OAuth: mcpoauth.NewClient(mcpoauth.Options{
			AllowInsecureHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: w.clock.Now, Timeout: claims.ResponseTimeout,
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
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// apply creates the connection and reconciles it.
func (w *world) apply(change ...func(*v1alpha1.MCPConnection)) {
	w.t.Helper()
	w.create(change...)
	w.reconcile()
}

func (w *world) create(change ...func(*v1alpha1.MCPConnection)) {
	w.t.Helper()
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.MCPURL()}}
	for _, c := range change {
		c(conn)
	}
	w.must(api.Create(w.t.Context(), conn))
}

func (w *world) edit(change func(*v1alpha1.MCPConnection)) *v1alpha1.MCPConnection {
	w.t.Helper()
	conn := w.get()
	before := conn.DeepCopy()
	change(conn)
	w.must(api.Patch(w.t.Context(), conn, client.MergeFrom(before)))
	return w.reconcile()
}

// reconcile runs until nothing is asked for at once, and checks the laws of status.
func (w *world) reconcile() *v1alpha1.MCPConnection {
	w.t.Helper()
	ctx := ctrl.LoggerInto(w.t.Context(), w.log.logger())
	for range 3 {
		result, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: w.key})
		w.must(err)
		if result.RequeueAfter != lifecycle.UrgentSlotRetry {
			break
		}
	}
	conn := w.get()
	if conn != nil {
		for _, broken := range lifecycle.CheckStatusLaws(conn, w.clock.Now()) {
			w.t.Error(broken)
		}
	}
	if w.after != nil {
		w.after()
	}
	return conn
}

func (w *world) get() *v1alpha1.MCPConnection {
	w.t.Helper()
	conn := &v1alpha1.MCPConnection{}
	if err := api.Get(w.t.Context(), w.key, conn); err != nil {
		w.must(client.IgnoreNotFound(err))
		return nil
	}
	return conn
}

func (w *world) secret() map[string]string {
	w.t.Helper()
	secret := &corev1.Secret{}
	if err := api.Get(w.t.Context(), client.ObjectKey{Namespace: w.key.Namespace, Name: w.key.Name + "-token"}, secret); err != nil {
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
	w.t.Helper()
	resp, err := w.browser.Post(link, "application/x-www-form-urlencoded", nil)
	w.must(err)
	_, err = io.Copy(io.Discard, resp.Body)
	w.must(err)
	w.must(resp.Body.Close())
	return resp.StatusCode
}

func (w *world) consent() {
	w.t.Helper()
	if status := w.open(w.get().Status.AuthorizationURL); status != http.StatusSeeOther {
		w.t.Fatalf("the flow ended with %d", status)
	}
	w.reconcile()
}

// want checks one condition.
func (w *world) want(condition string, status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.get().Status.Conditions, condition)
	if c == nil || c.Status != status || c.Reason != reason {
		w.t.Fatalf("%s is %+v, want %s %s", condition, c, status, reason)
	}
}

// doing is a reconcile that holds no slots.
func doing(o *lifecycle.State) *work { return &work{State: o} }
