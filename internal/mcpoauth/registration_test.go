package mcpoauth

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestSelectRegistration(t *testing.T) {
	const doc = "https://connect.example.com/oauth/client-metadata.json"
	neither := AuthorizationServerMetadata{Issuer: "https://as.example"}
	dynamic := AuthorizationServerMetadata{Issuer: "https://as.example",
		RegistrationEndpoint: "https://as.example/register"}
	documents := AuthorizationServerMetadata{Issuer: "https://as.example", ClientIDMetadataDocumentSupported: true}
	both := dynamic
	both.ClientIDMetadataDocumentSupported = true
	for _, tt := range []struct {
		name        string
		want        RegistrationMethod
		credentials bool
		document    string
		as          AuthorizationServerMetadata
		got         RegistrationMethod
		message     string
	}{
		{"credentials come first", "", true, doc, both, Preregistered, ""},
		{"then a metadata document", "", false, doc, both, MetadataDocument, ""},
		{"if there is one", "", false, "", both, Dynamic, ""},
		{"and the server supports it", "", false, doc, dynamic, Dynamic, ""},
		{"nothing fits", "", false, doc, neither, "", "spec.client.credentialsSecretRef"},
		{"only a public URL is missing", "", false, "", documents, "", "--external-url"},
		{"credentials asked for", Preregistered, true, "", neither, Preregistered, ""},
		{"credentials asked for and missing", Preregistered, false, doc, both, "", "spec.client.credentialsSecretRef"},
		{"a document asked for is used unadvertised", MetadataDocument, false, doc, neither, MetadataDocument, ""},
		{"a document asked for beats credentials", MetadataDocument, true, doc, both, MetadataDocument, ""},
		{"a document asked for and missing", MetadataDocument, false, "", both, "", "spec.client.metadataDocumentURL"},
		{"dynamic asked for", Dynamic, true, doc, both, Dynamic, ""},
		{"dynamic asked for and unsupported", Dynamic, true, doc, documents, "", "no registration endpoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := SelectRegistration(tt.want, tt.credentials, tt.document, tt.as)
			if got != tt.got {
				t.Errorf("got %q, want %q", got, tt.got)
			}
			if tt.message != "" {
				wantError(t, err, Misconfigured, NoRegistrationMethod, tt.message)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSelectAuthMethod(t *testing.T) {
	const basic, post, none = "client_secret_basic", "client_secret_post", "none"
	for _, tt := range []struct {
		name      string
		supported []string
		wanted    AuthMethod
		secret    string
		key       bool
		want      AuthMethod
	}{
		{"no secret", []string{basic}, "", "", false, AuthMethodNone},
		{"no secret whatever is wanted", []string{basic}, AuthMethodClientSecretBasic, "", false, AuthMethodNone},
		{"nothing listed", nil, "", "s", false, AuthMethodClientSecretBasic},
		{"both listed", []string{post, basic}, "", "Abc-1_2.3", false, AuthMethodClientSecretBasic},
		{"both listed and special characters", []string{basic, post}, "", "a+b/c=", false, AuthMethodClientSecretPost},
		{"special characters but only basic", []string{basic}, "", "a+b", false, AuthMethodClientSecretBasic},
		{"post alone", []string{none, post}, "", "s", false, AuthMethodClientSecretPost},
		{"neither", []string{none, "private_key_jwt"}, "", "s", false, AuthMethodClientSecretBasic},
		{"wanted", []string{basic}, AuthMethodClientSecretPost, "s", false, AuthMethodClientSecretPost},
		{"a key and no secret", []string{basic}, "", "", true, AuthMethodPrivateKeyJWT},
		{"a key and no secret whatever secret is wanted", nil, AuthMethodClientSecretPost, "", true, AuthMethodPrivateKeyJWT},
		{"a key that is not wanted", nil, AuthMethodNone, "", true, AuthMethodNone},
		{"a key and a secret", []string{basic, "private_key_jwt"}, "", "s", true, AuthMethodClientSecretBasic},
		{"a key and a secret and the key is wanted", []string{basic}, AuthMethodPrivateKeyJWT, "s", true,
			AuthMethodPrivateKeyJWT},
		{"a key is wanted and missing, which the request tells", nil, AuthMethodPrivateKeyJWT, "", false,
			AuthMethodPrivateKeyJWT},
	} {
		if got := SelectAuthMethod(tt.supported, tt.wanted, tt.secret, tt.key); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRegistrationRequestHoldsStandardMembersOnly(t *testing.T) {
	s := oauthtest.New(t)
	r := RegistrationRequest{
		Endpoint: s.URL + "/register", RedirectURI: testRedirectURI, ClientName: "op", ClientURI: "https://a.example",
		LogoURI: "https://a.example/l",
		Scopes:  []string{"mcp:read", "offline_access"}, AuthMethods: []string{"client_secret_post", "client_secret_basic"},
	}
	got, err := newTestClient(t, s).Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Clients()[0]
	want := ClientRegistration{Method: Dynamic, ClientID: c.ID, ClientSecret: c.Secret,
		AuthMethod: AuthMethodClientSecretBasic}
	if *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(s.Last("/register").Body), &sent); err != nil {
		t.Fatal(err)
	}
	if w := (map[string]any{
		"redirect_uris": []any{testRedirectURI}, "grant_types": []any{"authorization_code", "refresh_token"},
		"response_types":             []any{"code"},
		"token_endpoint_auth_method": "client_secret_basic", "application_type": "web", "client_name": "op",
		"client_uri": "https://a.example",
		"logo_uri":   "https://a.example/l", "scope": "mcp:read offline_access",
	}); !reflect.DeepEqual(sent, w) {
		t.Errorf("sent %v, want %v", sent, w)
	}
	r.RedirectURI = "http://localhost:8082/oauth/callback"
	if app := r.metadata("none").ApplicationType; app != "native" {
		t.Errorf("application_type of a loopback redirect is %q", app)
	}
}

func TestRegistrationMethodAskedFor(t *testing.T) {
	for _, tt := range []struct {
		supported []string
		want      AuthMethod
	}{
		{nil, AuthMethodClientSecretBasic},
		{[]string{"client_secret_post", "none"}, AuthMethodNone},
		{[]string{"client_secret_post", "client_secret_basic"}, AuthMethodClientSecretBasic},
		{[]string{"client_secret_post"}, AuthMethodClientSecretPost},
		{[]string{"private_key_jwt"}, AuthMethodClientSecretBasic},
	} {
		if got := SelectRegisteredMethod(tt.supported); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.supported, got, tt.want)
		}
	}
}

func TestRegistrationResponseIsAuthoritative(t *testing.T) {
	expiry := time.Unix(1800000000, 0).UTC()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		asked  AuthMethod
		want   ClientRegistration
	}{
		{"plain", 201, `{"client_id":"a"}`, "none", ClientRegistration{ClientID: "a", AuthMethod: "none"}},
		{"200 is fine", 200, `{"client_id":"a","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}`,
			"none", ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_post"}},
		{"method missing, secret given", 201, `{"client_id":"a","client_secret":"s"}`, "none",
			ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_basic"}},
		{"method missing, secret given, post asked", 201, `{"client_id":"a","client_secret":"s"}`, "client_secret_post",
			ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_post"}},
		{"method missing, no secret", 201, `{"client_id":"a","client_secret":null}`, "client_secret_basic",
			ClientRegistration{ClientID: "a", AuthMethod: "none"}},
		{"method echoed, no secret", 201, `{"client_id":"a","token_endpoint_auth_method":"client_secret_basic"}`, "none",
			ClientRegistration{ClientID: "a", AuthMethod: "none"}},
		{"none with a secret", 201, `{"client_id":"a","client_secret":"s","token_endpoint_auth_method":"none"}`, "none",
			ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "none", SecretMethod: "client_secret_basic"}},
		{"secret expires", 201, `{"client_id":"a","client_secret":"s","client_secret_expires_at":1800000000}`,
			"client_secret_basic", ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_basic",
				SecretExpiresAt: expiry}},
		{"secret expires, said as string", 201,
			`{"client_id":"a","client_secret":"s","client_secret_expires_at":"1800000000"}`, "client_secret_basic",
			ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_basic", SecretExpiresAt: expiry}},
		{"0 is never", 201, `{"client_id":"a","client_secret":"s","client_secret_expires_at":0}`, "client_secret_basic",
			ClientRegistration{ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_basic"}},
		{"management elsewhere is not used", 201,
			`{"client_id":"a","registration_client_uri":"https://x/y","registration_access_token":"t"}`, "none",
			ClientRegistration{ClientID: "a", AuthMethod: "none"}},
		{"management without a URI is not used", 201, `{"client_id":"a","registration_access_token":"t"}`, "none",
			ClientRegistration{ClientID: "a", AuthMethod: "none"}},
		{"number as client_id, BOM", 201, "\uFEFF{\"client_id\":17}", "none",
			ClientRegistration{ClientID: "17", AuthMethod: "none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/register", body(tt.status, "text/plain", tt.body))
			got, err := newTestClient(t, s).Register(t.Context(), RegistrationRequest{Endpoint: s.URL + "/register",
				RedirectURI: testRedirectURI, AuthMethod: tt.asked})
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Method = Dynamic
			if *got != tt.want {
				t.Errorf("got %+v, want %+v", *got, tt.want)
			}
		})
	}
}

func TestRegistrationErrors(t *testing.T) {
	refused := func(w http.ResponseWriter, _ *http.Request) {
		body(400, "application/json", `{"error":"invalid_redirect_uri","error_description":"not\u0000 on\n our list"}`)(w,
			nil)
	}
	for _, tt := range []struct {
		name     string
		handler  http.HandlerFunc
		kind     Kind
		code     Code
		contains []string
	}{
		{"400 names the callback URL", refused, Misconfigured, RegistrationRefused,
			[]string{testRedirectURI, "invalid_redirect_uri: not on our list"}},
		{"403 is final", status(403), Misconfigured, RegistrationRefused, []string{testRedirectURI}},
		{"a redirect is not followed", status(307), Misconfigured, RegistrationRefused, []string{"307"}},
		{"429 may heal", status(429), Transient, RegistrationFailing, nil},
		{"500 may heal", status(500), Transient, RegistrationFailing, nil},
		{"503 may heal", status(503), Transient, RegistrationFailing, nil},
		{"a dropped connection may heal", dropConnection, Transient, RegistrationFailing, nil},
		{"a web page may heal", body(200, "text/html", "<p>"), Transient, RegistrationFailing, nil},
		{"no client_id", body(201, "application/json", `{"client_id":""}`), Misconfigured, RegistrationRefused,
			[]string{"client_id"}},
		{"a method that is not supported", body(201, "application/json",
			`{"client_id":"a","token_endpoint_auth_method":"private_key_jwt"}`), Misconfigured, RegistrationRefused,
			[]string{"private_key_jwt"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/register", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "7")
				tt.handler(w, r)
			})
			_, err := newTestClient(t, s).Register(t.Context(), RegistrationRequest{Endpoint: s.URL + "/register?key=hunter2",
				RedirectURI: testRedirectURI})
			e := errorLike(t, err, tt.kind, tt.code, tt.contains...)
			if e.Kind == Transient && e.Status >= 400 && e.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After is %v", e.RetryAfter)
			}
			if n := s.Count("/register"); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
