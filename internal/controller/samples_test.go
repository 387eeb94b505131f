package controller

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	samplesFolder = "../../config/samples"
	guidesFolder  = "../../docs/guides"
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
	*testing.T
	*world
	provider *oauthtest.Server
}

var samples = map[string]sample{
	"authorization-code":             {consent: true},
	"preregistered-client":           {consent: true, prepare: (*sampleWorld).secretClient},
	"client-credentials-secret":      {prepare: (*sampleWorld).secretClient},
	"client-credentials-private-key": {prepare: (*sampleWorld).keyClient},
	"jwt-bearer-service-account": {prepare: func(w *sampleWorld) {
		w.trust(clusterKeys(w.T))
	}},
	"jwt-bearer-secret": {prepare: func(w *sampleWorld) {
		w.trust([]jose.JSONWebKey{vouchingKey()})
		w.keep("mcp-assertion", map[string]string{"token": w.vouched(w.server.Issuer())})
	}},
	"token-exchange": {prepare: (*sampleWorld).exchange},
	"dpop": {consent: true, keys: []string{v1alpha1.KeyDPoPJWK}, prepare: func(w *sampleWorld) {
		w.server.Configure(func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, "nonce" })
	}},
	"metadata-document":             {consent: true, prepare: (*sampleWorld).serveDocuments, meanwhile: (*sampleWorld).fetchDocument},
	"metadata-document-private-key": {consent: true, prepare: (*sampleWorld).serveDocuments, meanwhile: (*sampleWorld).fetchDocument},
	"protected-registration": {consent: true, prepare: func(w *sampleWorld) {
		w.server.Configure(func(c *oauthtest.Config) { c.InitialAccessToken, c.RegistrationManagement = "initial access", true })
		w.keep("mcp-initial-access", map[string]string{"token": "initial access"})
	}},
	"import": {prepare: func(w *sampleWorld) {
		w.keep("mcp-grant", map[string]string{
			"issuer": w.server.Issuer(), "client_id": "job", "client_secret": "secret",
			"refresh_token": w.grantElsewhere(w.server, oauthtest.Client{ID: "job", Secret: "secret"}),
		})
	}},
}

func TestEachSampleBecomesReady(t *testing.T) {
	for _, name := range sampleNames(t) {
		t.Run(name, func(t *testing.T) {
			s, known := samples[name]
			if !known {
				t.Fatal("nothing is known about this sample")
			}
			w := &sampleWorld{T: t, world: newWorld(t)}
			w.key.Name = name
			w.provider = oauthtest.New(t, func(c *oauthtest.Config) { c.Now = w.clock.Now })
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
			if !w.server.ValidAccessToken(token[v1alpha1.KeyAccessToken]) {
				t.Error("the server does not know the token")
			}
			for _, key := range s.keys {
				if token[key] == "" {
					t.Errorf("the token Secret has no %s", key)
				}
			}
			if got := w.server.Count(oauthtest.AuthorizePath); got != asked {
				t.Errorf("%d authorization requests, want %d", got, asked)
			}
			w.runGuides(false)
		})
	}
}

// TestEachSampleIsShownInAGuide keeps the pages and the files the same.
func TestEachSampleIsShownInAGuide(t *testing.T) {
	var pages strings.Builder
	for _, page := range guides(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(text)
	}
	for _, name := range sampleNames(t) {
		manifest, err := os.ReadFile(filepath.Join(samplesFolder, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(pages.String(), "```yaml\n"+string(manifest)+"```\n") {
			t.Errorf("no page of %s shows %s.yaml as it is", guidesFolder, name)
		}
	}
}

// guides are the pages of docs/guides.
func guides(t testing.TB) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(guidesFolder, "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return pages
}

// sampleNames are the files of the kustomization, which must be all there are.
func sampleNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(samplesFolder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := os.ReadFile(filepath.Join(samplesFolder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		name, _ := strings.CutSuffix(filepath.Base(file), ".yaml")
		if name == "kustomization" {
			continue
		}
		if !strings.Contains(string(listed), "- "+name+".yaml\n") {
			t.Errorf("the kustomization lacks %s.yaml", name)
		}
		names = append(names, name)
	}
	if len(names) != len(samples) {
		t.Errorf("%d files, but %d are known", len(names), len(samples))
	}
	return names
}

// applyFile creates all objects of a manifest, with the fake servers in place of the example's hosts.
func (w *sampleWorld) applyFile(name string) {
	w.t.Helper()
	text, err := os.ReadFile(name)
	w.must(err)
	w.applyManifest(strings.NewReplacer(
		"https://mcp.example.com", w.server.URL, "https://auth.example.com", w.server.Issuer(), "https://idp.example.com", w.provider.Issuer(),
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
	w.Cleanup(w.pages.Close)
	w.restart()
	w.servePages()
	w.browser.Transport = w.pages.Client().Transport
}

// fetchDocument does what the server does with a client_id that is a URL: it fetches the document there, and the keys that
// the document names.
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
	c := w.get().Status.Client
	if document.ID != id || c.AuthMethod != document.AuthMethod || (document.AuthMethod == "private_key_jwt") != (len(keys.Keys) == 1) {
		w.Errorf("the document is of %s and names %d keys, while status shows %+v", document.ID, len(keys.Keys), c)
	}
	w.server.Configure(func(c *oauthtest.Config) {
		c.ClientIDDocuments = map[string]oauthtest.Client{id: {Keys: keys.Keys, RedirectURIs: document.RedirectURIs}}
	})
}

func (w *sampleWorld) fetch(documentURL string, into any) {
	resp, err := w.pages.Client().Get(documentURL)
	w.must(err)
	defer func() { w.must(resp.Body.Close()) }()
	w.must(json.NewDecoder(resp.Body).Decode(into))
}

// secretClient is registered by hand, with a secret.
func (w *sampleWorld) secretClient() {
	w.server.AddClient(oauthtest.Client{ID: "client", Secret: "secret", RedirectURIs: []string{w.pages.URL + "/oauth/callback"}})
	w.keep("mcp-client", map[string]string{"client_id": "client", "client_secret": "secret"})
}

// keyClient is registered by hand, with a public key.
func (w *sampleWorld) keyClient() {
	key, err := mcpoauth.GenerateSigningKey()
	w.must(err)
	w.server.AddClient(oauthtest.Client{ID: "client", Keys: []jose.JSONWebKey{key.PublicJWK()}})
	text, err := key.PEM()
	w.must(err)
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
