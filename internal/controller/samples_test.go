package controller

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// sample is what a manifest of config/samples needs around it.
type sample struct {
	// prepare does what an administrator does beforehand, at the authorization server and with kubectl.
	prepare func(*sampleWorld)
	// consent says that one person opens the link.
	consent bool
	// meanwhile is what the authorization server does until then.
	meanwhile func(*sampleWorld)
	// keys that the token Secret holds besides those of every token.
	keys []string
}

// sampleWorld has an identity provider besides the server.
type sampleWorld struct {
	*world
	provider *oauthtest.Server
}

var samples = map[string]sample{
	"authorization-code":             {consent: true},
	"preregistered-client":           {consent: true, prepare: (*sampleWorld).secretClient},
	"client-credentials-secret":      {prepare: (*sampleWorld).secretClient},
	"client-credentials-private-key": {prepare: (*sampleWorld).keyClient},
	"jwt-bearer-service-account": {prepare: func(w *sampleWorld) {
		w.trust(clusterKeys())
	}},
	"jwt-bearer-secret": {prepare: func(w *sampleWorld) {
		w.trust([]jose.JSONWebKey{vouchingKey()})
		w.keep("mcp-assertion", map[string]string{"token": w.vouched(w.server.Issuer())})
	}},
	"token-exchange": {prepare: (*sampleWorld).exchange},
	"dpop": {consent: true, keys: []string{v1alpha1.KeyDPoPJWK}, prepare: func(w *sampleWorld) {
		w.server.Configure(func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, "nonce" })
	}},
	"metadata-document": {consent: true, prepare: (*sampleWorld).serveDocuments, meanwhile: (*sampleWorld).fetchDocument},
	"metadata-document-private-key": {consent: true, prepare: (*sampleWorld).serveDocuments,
		meanwhile: (*sampleWorld).fetchDocument},
	"protected-registration": {consent: true, prepare: func(w *sampleWorld) {
		w.server.Configure(func(c *oauthtest.Config) {
			c.InitialAccessToken, c.RegistrationManagement = "initial access", true
		})
		w.keep("mcp-initial-access", map[string]string{"token": "initial access"})
	}},
	"import": {prepare: func(w *sampleWorld) {
		w.keep("mcp-grant", map[string]string{
			"issuer": w.server.Issuer(), "client_id": "job", "client_secret": "secret",
			"refresh_token": w.grantElsewhere(w.server, oauthtest.Client{ID: "job", Secret: "secret"}),
		})
	}},
}

var _ = Describe("A sample", func() {
	var rows []TableEntry
	for _, name := range slices.Sorted(maps.Keys(samples)) { // a test of the guides sees that these are all
		rows = append(rows, Entry(name, name))
	}
	DescribeTable("becomes ready:", func(name string) {
		s := samples[name]
		w := &sampleWorld{world: newWorld()}
		w.key.Name = name
		w.provider = oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.Now = w.clock.Now })
		if s.prepare != nil {
			s.prepare(w)
		}
		asked := w.server.Count(oauthtest.AuthorizePath)
		w.applyFile(filepath.Join(samplesFolder, name+".yaml"))
		w.reconcile()
		if s.consent {
			w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
			w.runGuides(true)
			if s.meanwhile != nil {
				s.meanwhile(w)
			}
			w.consent()
			asked++
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		token := w.secret()
		Expect(w.server.ValidAccessToken(token[v1alpha1.KeyAccessToken])).To(BeTrue(), "the server does not know the token")
		for _, key := range s.keys {
			filled := token[key] != ""
			Expect(filled).To(BeTrue(), "the token Secret has no %s", key)
		}
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(asked), "authorization requests")
		w.runGuides(false)
	}, rows)
})

// applyFile creates all objects of a manifest, with the fake servers in place of the example's hosts.
func (w *sampleWorld) applyFile(name string) {
	GinkgoHelper()
	text, err := os.ReadFile(name)
	Expect(err).NotTo(HaveOccurred())
	w.applyManifest(strings.NewReplacer(
		"https://mcp.example.com", w.server.URL, "https://auth.example.com", w.server.Issuer(), "https://idp.example.com",
		w.provider.Issuer(),
		"\nmetadata:\n", "\nmetadata:\n  namespace: "+w.key.Namespace+"\n",
	).Replace(string(text)))
}

// trust lets the server take assertions that were signed with these keys.
func (w *sampleWorld) trust(keys []jose.JSONWebKey) {
	w.server.Configure(func(c *oauthtest.Config) { c.AssertionKeys = keys })
}

// serveDocuments has the operator at an https address, from where a server fetches documents.
func (w *sampleWorld) serveDocuments() {
	w.server.Configure(advertisesDocuments)
	w.withoutKeys()
	w.pages = httptest.NewTLSServer(w.pages.Config.Handler)
	DeferCleanup(w.pages.Close)
	w.restart()
	w.servePages()
	w.browser.Transport = w.pages.Client().Transport
}

// fetchDocument does what the server does with a client_id that is a URL: it fetches the document there, and the keys
// that the document names.
func (w *sampleWorld) fetchDocument() {
	id := w.get().Status.Client.ID
	var document struct {
		ID           string   `json:"client_id"`
		RedirectURIs []string `json:"redirect_uris"`
		AuthMethod   string   `json:"token_endpoint_auth_method"`
		JWKSURI      string   `json:"jwks_uri"`
	}
	var keys jose.JSONWebKeySet
	w.fetch(id, &document)
	if document.JWKSURI != "" {
		w.fetch(document.JWKSURI, &keys)
	}
	authMethod, byKey := w.get().Status.Client.AuthMethod, len(keys.Keys) == 1
	Expect(document.ID).To(Equal(id))
	Expect(authMethod).To(Equal(document.AuthMethod))
	Expect(byKey).To(Equal(document.AuthMethod == "private_key_jwt"), "%d keys for %s", len(keys.Keys),
		document.AuthMethod)
	w.server.Configure(func(c *oauthtest.Config) {
		c.ClientIDDocuments = map[string]oauthtest.Client{id: {Keys: keys.Keys, RedirectURIs: document.RedirectURIs}}
	})
}

func (w *sampleWorld) fetch(documentURL string, into any) {
	resp, err := w.pages.Client().Get(documentURL)
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(resp.Body.Close()).To(Succeed()) }()
	Expect(json.NewDecoder(resp.Body).Decode(into)).To(Succeed())
}

// secretClient is registered by hand, with a secret.
func (w *sampleWorld) secretClient() {
	w.server.AddClient(oauthtest.Client{ID: "client", Secret: "secret",
		RedirectURIs: []string{w.pages.URL + "/oauth/callback"}})
	w.keep("mcp-client", map[string]string{"client_id": "client", "client_secret": "secret"})
}

// keyClient is registered by hand, with a public key.
func (w *sampleWorld) keyClient() {
	key, err := mcpoauth.GenerateSigningKey()
	Expect(err).NotTo(HaveOccurred())
	w.server.AddClient(oauthtest.Client{ID: "client", Keys: []jose.JSONWebKey{key.PublicJWK()}})
	text, err := key.PEM()
	Expect(err).NotTo(HaveOccurred())
	w.keep("mcp-client", map[string]string{"client_id": "client", "private_key": string(text)})
}

// exchange has an identity provider that knows one identity token.
func (w *sampleWorld) exchange() {
	const identity = "the agent's identity token"
	w.secretClient()
	w.provider.AddClient(oauthtest.Client{ID: "agent", Secret: "idp-secret"})
	w.provider.Configure(func(c *oauthtest.Config) {
		c.IDJAGClientID = "client"
		c.SubjectOf = func(token, _ string) (string, error) {
			if token != identity {
				return "", errors.New("unknown")
			}
			return "agent@example.com", nil
		}
	})
	w.trust([]jose.JSONWebKey{w.provider.PublicKey()})
	w.keep("idp-client", map[string]string{"client_id": "agent", "client_secret": "idp-secret"})
	w.keep("agent-identity", map[string]string{"token": identity})
}
