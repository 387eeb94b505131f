package callback

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	operatorNamespace = "mcp-connection-system"
	connectionUID     = types.UID("0b0e7a52-3f6e-4d0c-9a55-6c1f4f0f9d11")
	issuer            = "https://auth.example.com"
	externalURL       = "https://connect.example.com"
	userHeader        = "X-Forwarded-User"
)

// fixture is a server over a fake API server, with one connection that asks for consent.
type fixture struct {
	testing.TB
	server *Server
	store  *credential.Store
	client client.WithWatch
	now    time.Time
	ticket string
	logs   strings.Builder
	audits strings.Builder
	// allowed says who may authorize the connection; reviews are the questions asked of the API server.
	allowed []string
	reviews []authorizationv1.SubjectAccessReviewSpec
	// reads and writes of Secrets with contents.
	reads, writes atomic.Int64
	// onRead and onUpdate, if set, run before; an error takes the place of the call.
	onRead, onUpdate func() error
	// onReview is the API server's error, if it gives one instead of an answer.
	onReview error
}

type change func(*Options, *v1alpha1.MCPConnection, *credential.Offer)

func withExternalURL(u string) change {
	return func(o *Options, _ *v1alpha1.MCPConnection, _ *credential.Offer) { o.ExternalURL = u }
}

func withBinding(f func(*credential.Binding)) change {
	return func(_ *Options, _ *v1alpha1.MCPConnection, offer *credential.Offer) { f(&offer.Binding) }
}

// behindProxy has 198.51.100.0/24 name the person in a header.
func behindProxy(o *Options, _ *v1alpha1.MCPConnection, _ *credential.Offer) {
	o.UserHeader, o.UserProxies = userHeader, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
}

func newFixture(t testing.TB, changes ...change) *fixture {
	t.Helper()
	f := &fixture{TB: t, now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), ticket: credential.NewTicket(connectionUID)}
	o := Options{
		ExternalURL: externalURL, ClientName: "mcp-connection-operator", Version: "1.2.3",
		Now: func() time.Time { return f.now }, MachineNow: time.Now,
		Log:   funcr.New(func(prefix, args string) { f.logs.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 9}),
		Audit: funcr.New(func(_, args string) { f.audits.WriteString(args + "\n") }, funcr.Options{}),
	}
	connection := &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "files", UID: connectionUID, Finalizers: []string{v1alpha1.Finalizer}},
		Spec:       v1alpha1.MCPConnectionSpec{ServerURL: "https://mcp.example.com/mcp"},
	}
	offer := credential.Offer{
		Ticket: f.ticket, ExpiresAt: f.now.Add(credential.TicketLifetime),
		Binding: credential.Binding{
			ServerURL: "https://mcp.example.com/mcp?key=hidden", Issuer: issuer, IssParameterSupported: true,
			AuthorizationEndpoint: issuer + "/authorize", TokenEndpoint: issuer + "/token",
			Client:      mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-1", AuthMethod: mcpoauth.AuthMethodNone},
			RedirectURI: externalURL + credential.PathCallback, Scopes: []string{"files:read", "files:write"}, Resource: "https://mcp.example.com/mcp",
		},
	}
	for _, c := range changes {
		c(&o, connection, &offer)
	}
	scheme := runtime.NewScheme()
	f.must(corev1.AddToScheme(scheme))
	f.must(v1alpha1.AddToScheme(scheme))
	f.must(authorizationv1.AddToScheme(scheme))
	f.client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(connection).Build(), f.funcs())
	f.store = credential.NewStore(f.client, operatorNamespace)
	_, err := f.store.Create(t.Context(), credential.Connection{UID: connectionUID, Namespace: "team-a", Name: "files"},
		func(c *credential.Credential) error { c.Authorization.Offer = &offer; return nil })
	f.must(err)
	o.Store, o.Live, o.Connections, o.Access = f.store, NewLookup(f.client, operatorNamespace), f.client, NewAccess(f.client)
	if o.Secrets == nil {
		o.Secrets = o.Live
	}
	f.server, err = New(o)
	f.must(err)
	return f
}

func (f *fixture) funcs() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if review, ok := obj.(*authorizationv1.SubjectAccessReview); ok {
				f.reviews = append(f.reviews, review.Spec)
				review.Status.Allowed = slices.Contains(f.allowed, review.Spec.User)
				return f.onReview
			}
			return c.Create(ctx, obj, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if _, ok := obj.(*corev1.Secret); ok {
				f.reads.Add(1)
				if f.onRead != nil {
					if err := f.onRead(); err != nil {
						return err
					}
				}
			}
			return c.Get(ctx, key, obj, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			f.writes.Add(1)
			if f.onUpdate != nil {
				if err := f.onUpdate(); err != nil {
					return err
				}
			}
			return c.Update(ctx, obj, opts...)
		},
	}
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// credential reads what is stored.
func (f *fixture) credential() *credential.Held {
	f.Helper()
	held, err := f.store.Get(f.Context(), connectionUID)
	f.must(err)
	return held
}

// reconcile writes as the reconciler does.
func (f *fixture) reconcile(mutate func(*credential.Credential)) {
	f.Helper()
	_, err := f.store.Update(f.Context(), f.credential(), func(c *credential.Credential) error { mutate(c); return nil })
	f.must(err)
}

func (f *fixture) finish(reason, message string) {
	f.Helper()
	f.reconcile(func(c *credential.Credential) { c.Authorization.Finish(reason, message, f.now) })
}

func (f *fixture) editConnection(edit func(*v1alpha1.MCPConnection)) {
	f.Helper()
	c := &v1alpha1.MCPConnection{}
	f.must(f.client.Get(f.Context(), types.NamespacedName{Namespace: "team-a", Name: "files"}, c))
	edit(c)
	f.must(f.client.Update(f.Context(), c))
}

func (f *fixture) suspend() {
	f.editConnection(func(c *v1alpha1.MCPConnection) { yes := true; c.Spec.Suspend = &yes })
}

// browser is one person's browser.
type browser struct {
	f      *fixture
	cookie *http.Cookie
	// from is where its requests come from, user whom the proxy there names.
	from, user string
}

func (f *fixture) browser() *browser { return &browser{f: f, from: "192.0.2.1:1234"} }

// person is a browser behind the authenticating proxy.
func (f *fixture) person(user string) *browser {
	return &browser{f: f, from: "198.51.100.7:1234", user: user}
}

func (b *browser) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	b.f.Helper()
	r := httptest.NewRequestWithContext(b.f.Context(), method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	r.RemoteAddr = b.from
	if b.user != "" {
		r.Header.Add(userHeader, b.user)
	}
	if b.cookie != nil {
		r.AddCookie(&http.Cookie{Name: b.cookie.Name, Value: b.cookie.Value})
	}
	w := httptest.NewRecorder()
	b.f.server.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

func (b *browser) get(target string, headers ...string) *httptest.ResponseRecorder {
	b.f.Helper()
	return b.do(http.MethodGet, target, "", headers...)
}

func (b *browser) open() *httptest.ResponseRecorder {
	b.f.Helper()
	return b.get("/connect/" + b.f.ticket)
}

// begin posts the form and returns the state that went to the authorization server.
func (b *browser) begin() string {
	b.f.Helper()
	w := b.do(http.MethodPost, "/connect/"+b.f.ticket, "")
	expect(b.f, w, http.StatusSeeOther)
	u, err := url.Parse(w.Header().Get("Location"))
	b.f.must(err)
	return u.Query().Get("state")
}

// answer comes back from the authorization server; more are pairs of query parameters.
func (b *browser) answer(state string, more ...string) *httptest.ResponseRecorder {
	b.f.Helper()
	q := url.Values{"state": {state}, "iss": {issuer}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return b.get("/oauth/callback?" + q.Encode())
}

func expect(f *fixture, w *httptest.ResponseRecorder, status int, texts ...string) {
	f.Helper()
	if w.Code != status {
		f.Fatalf("status %d, want %d\n%s", w.Code, status, w.Body)
	}
	for _, text := range texts {
		if !strings.Contains(w.Body.String(), text) {
			f.Errorf("the page lacks %q:\n%s", text, w.Body)
		}
	}
}

// unchanged fails if do writes to the credential Secret.
func (f *fixture) unchanged(do func()) {
	f.Helper()
	before := f.resourceVersion()
	do()
	if f.resourceVersion() != before {
		f.Error("the credential Secret was written")
	}
}

func (f *fixture) resourceVersion() string { f.Helper(); return f.secret().ResourceVersion }

func (f *fixture) secret() *corev1.Secret {
	f.Helper()
	secret := &corev1.Secret{}
	f.must(f.client.Get(f.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: credential.SecretName(connectionUID)}, secret))
	return secret
}

func (f *fixture) editSecret(edit func(labels, annotations map[string]string, data map[string][]byte)) {
	f.Helper()
	secret := f.secret()
	edit(secret.Labels, secret.Annotations, secret.Data)
	f.must(f.client.Update(f.Context(), secret))
}
