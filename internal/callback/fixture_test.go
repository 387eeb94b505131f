package callback

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/ginkgo/v2"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	operatorNamespace = "mcp-connection-system"
	team              = "team-a"
	otherUID          = types.UID("11111111-2222-4333-8444-555555555555")
	issuer            = "https://auth.example.com"
	externalURL       = "https://connect.example.com"
	userHeader        = "X-Forwarded-User"
)

// fixture is a server of pages, with one connection that asks for consent.
type fixture struct {
	testing.TB
	server *Server
	store  *credential.Store
	client client.WithWatch
	now    time.Time
	ticket string
	logs   strings.Builder
	audits strings.Builder
	uid    types.UID
	// allowed says who may authorize the connection, to the API server in memory; permit says so to a real one.
	allowed []string
	// reviews are the questions who may authorize the connection.
	reviews []authorizationv1.SubjectAccessReviewSpec
	// reads of Secrets with contents.
	reads atomic.Int64
	// onRead and onUpdate, if set, run before; an error takes the place of the call.
	onRead, onUpdate func() error
	// onReview is the API server's error, if it gives one instead of an answer.
	onReview error
}

type change func(*Options, *credential.Offer)

func withExternalURL(u string) change {
	return func(o *Options, _ *credential.Offer) { o.ExternalURL = u }
}

func withBinding(f func(*credential.Binding)) change {
	return func(_ *Options, offer *credential.Offer) { f(&offer.Binding) }
}

// behindProxy has 198.51.100.0/24 name the person in a header.
func behindProxy(o *Options, _ *credential.Offer) {
	o.UserHeader, o.UserProxies = userHeader, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
}

// newFixture is a fixture of the real API server, which holds nothing else of earlier ones.
func newFixture(changes ...change) *fixture {
	GinkgoHelper()
	sweep(GinkgoTB().Context())
	return build(GinkgoTB(), cluster, changes)
}

// build sets up a connection that asks for consent, and the server of its pages.
func build(t testing.TB, api client.WithWatch, changes []change) *fixture {
	t.Helper()
	f := &fixture{TB: t, now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	f.client = interceptor.NewClient(api, f.funcs())
	f.store = credential.NewStore(f.client, operatorNamespace)
	connection := newConnection("0b0e7a52-3f6e-4d0c-9a55-6c1f4f0f9d11")
	f.must(api.Create(t.Context(), connection))
	f.uid = connection.UID
	f.ticket = credential.NewTicket(f.uid)
	o := Options{
		ExternalURL: externalURL, ClientName: "mcp-connection-operator", Version: "1.2.3",
		Now: func() time.Time { return f.now }, MachineNow: time.Now,
		Log:   funcr.New(func(prefix, args string) { f.logs.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 9}),
		Audit: funcr.New(func(_, args string) { f.audits.WriteString(args + "\n") }, funcr.Options{}),
	}
	offer := credential.Offer{
		Ticket: f.ticket, ExpiresAt: f.now.Add(credential.TicketLifetime),
		Binding: credential.Binding{
			ServerURL: "https://mcp.example.com/mcp?key=hidden", Issuer: issuer, IssParameterSupported: true,
			AuthorizationEndpoint: issuer + "/authorize", TokenEndpoint: issuer + "/token",
			Client: mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-1",
				AuthMethod: mcpoauth.AuthMethodNone},
			RedirectURI: externalURL + credential.PathCallback, Scopes: []string{"files:read", "files:write"},
			Resource: "https://mcp.example.com/mcp",
		},
	}
	for _, c := range changes {
		c(&o, &offer)
	}
	_, err := f.store.Create(t.Context(), credential.Connection{UID: f.uid, Namespace: connection.Namespace,
		Name: connection.Name},
		func(c *credential.Credential) error { c.Authorization.Offer = &offer; return nil })
	f.must(err)
	o.Store, o.Live, o.Connections, o.Access = f.store, NewLookup(f.client, operatorNamespace), f.client,
		NewAccess(f.client)
	if o.Secrets == nil {
		o.Secrets = o.Live
	}
	f.server, err = New(o)
	f.must(err)
	return f
}

// newConnection is the connection of a fixture. A real API server gives it another UID.
func newConnection(uid types.UID) *v1alpha1.MCPConnection {
	return &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "files", UID: uid, Finalizers: []string{v1alpha1.Finalizer}},
		Spec:       v1alpha1.MCPConnectionSpec{ServerURL: "https://mcp.example.com/mcp"},
	}
}

func (f *fixture) funcs() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if review, ok := obj.(*authorizationv1.SubjectAccessReview); ok {
				f.reviews = append(f.reviews, review.Spec)
				if f.onReview != nil {
					return f.onReview
				}
			}
			return c.Create(ctx, obj, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object,
			opts ...client.GetOption) error {
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
	held, err := f.store.Get(f.Context(), f.uid)
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

// connection reads the connection.
func (f *fixture) connection() *v1alpha1.MCPConnection {
	f.Helper()
	c := &v1alpha1.MCPConnection{}
	f.must(f.client.Get(f.Context(), types.NamespacedName{Namespace: team, Name: "files"}, c))
	return c
}

func (f *fixture) suspend() {
	f.Helper()
	c := f.connection()
	c.Spec.Suspend = ptr.To(true)
	f.must(f.client.Update(f.Context(), c))
}

// release takes the finalizer away.
func (f *fixture) release() {
	f.Helper()
	c := f.connection()
	c.Finalizers = nil
	f.must(f.client.Update(f.Context(), c))
}

// remake puts another connection in the place of the connection.
func (f *fixture) remake() {
	f.Helper()
	f.must(f.client.Delete(f.Context(), f.connection()))
	f.release()
	f.must(f.client.Create(f.Context(), newConnection(otherUID)))
}

// report writes status as the reconciler does.
func (f *fixture) report(authorized, ready metav1.ConditionStatus, reason, message string) {
	f.Helper()
	c := f.connection()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAuthorized, Status: authorized,
		Reason: reason, Message: message})
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: ready,
		Reason: reason, Message: message})
	f.must(f.client.Status().Update(f.Context(), c))
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
	f.must(f.client.Get(f.Context(), types.NamespacedName{Namespace: operatorNamespace,
		Name: credential.SecretName(f.uid)}, secret))
	return secret
}

func (f *fixture) editSecret(edit func(labels, annotations map[string]string, data map[string][]byte)) {
	f.Helper()
	secret := f.secret()
	edit(secret.Labels, secret.Annotations, secret.Data)
	f.must(f.client.Update(f.Context(), secret))
}

const jwksPath = "/oauth/jwks.json"

// sign has the reconciler need the operator's key, and says which one it is.
func (f *fixture) sign() string {
	f.Helper()
	key, err := f.store.SigningKey(f.Context(), f.now)
	f.must(err)
	return key.KeyID
}

// keys are the IDs of the keys that are served.
func (f *fixture) keys() string {
	f.Helper()
	w := f.browser().get(jwksPath)
	expect(f, w, http.StatusOK)
	var set jose.JSONWebKeySet
	f.must(json.Unmarshal(w.Body.Bytes(), &set))
	var ids []string
	for _, k := range set.Keys {
		if !k.IsPublic() {
			f.Error("a private key is served")
		}
		ids = append(ids, k.KeyID)
	}
	return strings.Join(ids, " ")
}
