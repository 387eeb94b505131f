package mcpoauth

import (
	"strings"
	"testing"
)

func TestHostileServerMetadata(t *testing.T) {
	with := func(member, value string) string {
		return strings.Replace(goodServer, `"`+member+`":"BASE/`, `"`+member+`":"`+value+`","hunter2":"`, 1)
	}
	for _, tt := range []hostile{
		{"another issuer", strings.Replace(goodServer, "BASE", "https://evil.example", 1), Misconfigured, IssuerMismatch,
			`spec.authorizationServer.issuer: "https://evil.example"`},
		{"a slash more", strings.Replace(goodServer, "BASE", "BASE/", 1), Misconfigured, IssuerMismatch,
			`spec.authorizationServer.issuer: "https://127.0.0.1`},
		{"a homograph's issuer", strings.Replace(goodServer, "BASE", "https://"+"\u0430"+"pple.example", 1), Misconfigured,
			IssuerMismatch, "no plain URL"},
		{"an issuer turned around", strings.Replace(goodServer, "BASE", "https://as.example/\u202ehunter2", 1), Misconfigured,
			IssuerMismatch, "no plain URL"},
		{"an issuer that gives orders", strings.Replace(goodServer, "BASE", "run this: hunter2", 1), Misconfigured,
			IssuerMismatch, "no plain URL"},
		{"an issuer with a query", strings.Replace(goodServer, "BASE", "https://as.example?hunter2", 1), Misconfigured,
			IssuerMismatch, "no plain URL"},
		{"an issuer with a password", strings.Replace(goodServer, "BASE", "https://user:hunter2@as.example", 1),
			Misconfigured, IssuerMismatch, "no plain URL"},
		{"an issuer that is a script", strings.Replace(goodServer, "BASE", "javascript:hunter2", 1), Misconfigured,
			IssuerMismatch, "no plain URL"},
		{"an issuer without an end", strings.Replace(goodServer, "BASE", "https://as.example/"+
			strings.Repeat("hunter2", 1000), 1), Misconfigured, IssuerMismatch, "no plain URL"},
		{"no issuer", strings.Replace(goodServer, `"issuer"`, `"hunter2"`, 1), Misconfigured, InvalidMetadata, "no issuer"},
		{"an issuer that is an object", strings.Replace(goodServer, `"BASE"`, `{"hunter2":1}`, 1), Misconfigured,
			InvalidMetadata, "type string"},
		{"two issuers", `{"issuer":"https://hunter2.example",` + goodServer[1:], Misconfigured, InvalidMetadata, "twice"},
		{"a token endpoint in capitals beside it", `{"TOKEN_ENDPOINT":"https://hunter2.example",` + goodServer[1:],
			Misconfigured, InvalidMetadata, "must be spelled"},
		{"a list of methods that is a string", strings.Replace(goodServer, `["S256"]`, `"S256 hunter2"`, 1), Misconfigured,
			InvalidMetadata, "array of strings"},
		{"only plain PKCE", strings.Replace(goodServer, `"S256"`, `"plain","hunter2"`, 1), Misconfigured, PKCEUnsupported,
			"S256"},
		{"S256 in lower case", strings.Replace(goodServer, `"S256"`, `"s256"`, 1), Misconfigured, PKCEUnsupported, "S256"},
		{"no list of methods", strings.Replace(goodServer, `["S256"]`, `null`, 1), Misconfigured, PKCEUnsupported,
			"assumePKCES256"},
		{"an empty list of methods", strings.Replace(goodServer, `["S256"]`, `[]`, 1), Misconfigured, PKCEUnsupported,
			"S256"},
		{"a null among methods", strings.Replace(goodServer, `["S256"]`, `[null]`, 1), Misconfigured, PKCEUnsupported,
			"S256"},
		{"a boolean that is a number", `{"client_id_metadata_document_supported":1,` + goodServer[1:], Misconfigured,
			InvalidMetadata, "boolean"},
		{"no token endpoint", with("token_endpoint", ""), Misconfigured, InvalidMetadata, "no token_endpoint"},
		{"no authorization endpoint", with("authorization_endpoint", ""), Misconfigured, InvalidMetadata,
			"no authorization_endpoint"},

		{"a token endpoint by http", with("token_endpoint", "http://as.example/t?hunter2"), Misconfigured, InsecureURL,
			"the token_endpoint in"},
		{"an authorization endpoint that is a script", with("authorization_endpoint", "javascript:alert(hunter2)//"),
			Misconfigured, InvalidMetadata, "not an https URL"},
		{"an authorization endpoint that is data", with("authorization_endpoint", "data:text/html,hunter2"), Misconfigured,
			InvalidMetadata, "not an https URL"},
		{"an authorization endpoint with a host in disguise",
			with("authorization_endpoint", "https://good.example\\\\@evil.example/hunter2"), Misconfigured, InvalidMetadata,
			"not a valid URL"},
		{"an authorization endpoint with a password", with("authorization_endpoint", "https://good.example@evil.example/"),
			Misconfigured, InvalidMetadata, "user name"},
		{"a registration endpoint on a file", with("registration_endpoint", "file:///etc/passwd"), Misconfigured,
			InvalidMetadata, "the registration_endpoint in"},
		{"a revocation endpoint without a scheme", `{"revocation_endpoint":"//evil.example/r",` + goodServer[1:],
			Misconfigured, InvalidMetadata, "the revocation_endpoint in"},
		{"a relative token endpoint", with("token_endpoint", "/token?hunter2"), Misconfigured, InvalidMetadata,
			"not an https URL"},
		{"a token endpoint without a host", with("token_endpoint", "https:///token"), Misconfigured, InvalidMetadata,
			"no host"},
		{"a token endpoint that is opaque", with("token_endpoint", "https:as.example/token"), Misconfigured, InvalidMetadata,
			"no host"},
		{"a token endpoint with a fragment", with("token_endpoint", "https://as.example/token#hunter2"), Misconfigured,
			InvalidMetadata, "fragment"},
		{"a token endpoint with an empty fragment", with("token_endpoint", "https://as.example/token#"), Misconfigured,
			InvalidMetadata, "fragment"},
		{"a token endpoint at port 0", with("token_endpoint", "https://as.example:0/token"), Misconfigured, InvalidMetadata,
			"port"},
		{"a token endpoint at port 65536", with("token_endpoint", "https://as.example:65536/token"), Misconfigured,
			InvalidMetadata, "port"},
		{"a token endpoint at a word", with("token_endpoint", "https://as.example:hunter2/token"), Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a token endpoint after a blank", with("token_endpoint", " https://as.example/hunter2"), Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a token endpoint with a tab", with("token_endpoint", "https://as.example/\\thunter2"), Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a token endpoint with a NUL", with("token_endpoint", "https://as.example\\u0000.good.example/hunter2"),
			Misconfigured, InvalidMetadata, "not a valid URL"},
		{"a token endpoint with DEL", with("token_endpoint", "https://as.example/\\u007fhunter2"), Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a host that is escaped", with("token_endpoint", "https://as%2eexample/hunter2"), Misconfigured, InvalidMetadata,
			"not a valid URL"},
		{"a host with a letter for a slash", with("token_endpoint", "https://evil.c\u2100.good.example/hunter2"),
			Misconfigured, InvalidMetadata, "not a valid URL"},
		{"a host with a letter for the end", with("token_endpoint", "https://evil.example\uff03.good.example/hunter2"),
			Misconfigured, InvalidMetadata, "not a valid URL"},
		{"a host that is turned around", with("token_endpoint", "https://as.\u202eelpmaxe/hunter2"), Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a host of quotes", with("token_endpoint", "https://as.example&x='y'/?hunter2"), Misconfigured, InvalidMetadata,
			"not valid"},
		{"a host with an empty label", with("token_endpoint", "https://as..example/"), Misconfigured, InvalidMetadata,
			"not valid"},
		{"a host without an end", with("token_endpoint", "https://"+strings.Repeat("a.", 200)+"example/"), Misconfigured,
			InvalidMetadata, "not valid"},
		{"a URL without an end", with("token_endpoint", "https://as.example/"+strings.Repeat("hunter2", 2000)), Misconfigured,
			InvalidMetadata, "8 KiB"},
		{"an address without its bracket", with("token_endpoint", "https://[::1/hunter2"), Misconfigured, InvalidMetadata,
			"not a valid URL"},
		{"a query that ends the document", goodServer[:len(goodServer)-1] + `,"x":"?hunter2`, Misconfigured, InvalidMetadata,
			"not valid JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "", nil)
			w.answers[hostileServer] = w.document(tt.text)
			_, err := w.discover(t, w.client())
			checkHostile(t, err, tt.kind, tt.code, tt.want)
		})
	}
}

// What a tenant or the controller hands over is checked again where it is used: a document is not the only way in.
func TestEveryURLIsCheckedAgainBeforeItIsUsed(t *testing.T) {
	w := newWorld(t, "", nil)
	c := w.client()
	for url, code := range map[string]Code{
		"http://as.example/x?hunter2":          InsecureURL,
		"javascript:alert(1)":                  InvalidMetadata,
		"https://user:hunter2@as.example/x":    InvalidMetadata,
		"https://as.example/x#hunter2":         InvalidMetadata,
		"https://as.example:99999/x":           InvalidMetadata,
		"https://private.example/x?hunter2":    EgressDenied,
		"https://169.254.169.254/x":            EgressDenied,
		"https://0251.0376.0251.0376/x":        EgressDenied,
		"https://[64:ff9b::a9fe:a9fe]/x":       EgressDenied,
		"":                                     InvalidMetadata,
		"https://as.example/\nhunter2":         InvalidMetadata,
		"https://as.example/x?" + long(maxURL): InvalidMetadata,
	} {
		t.Run(Sanitize(url, 40), func(t *testing.T) {
			ep := TokenEndpoint{URL: url, Client: ClientRegistration{ClientID: "c", ClientSecret: "hunter2",
				AuthMethod: AuthMethodClientSecretPost}}
			_, err := c.Exchange(t.Context(), CodeRequest{TokenEndpoint: ep, Code: "hunter2", CodeVerifier: "hunter2"})
			if e := hostileError(t, err, Misconfigured, code, ""); e.Outcome != NotSent {
				t.Errorf("outcome %v", e.Outcome)
			}
			checkHostile(t, c.Revoke(t.Context(), RevocationRequest{TokenEndpoint: ep, Token: "hunter2"}), Misconfigured, code,
				"")
			refused := code
			if code == InvalidMetadata {
				refused = RegistrationRefused
			}
			_, err = c.Register(t.Context(), RegistrationRequest{Endpoint: url, InitialAccessToken: "hunter2"})
			checkHostile(t, err, Misconfigured, refused, "")
			client := &ClientRegistration{RegistrationClientURI: url, RegistrationAccessToken: "hunter2"}
			if url != "" {
				checkHostile(t, c.DeleteRegistration(t.Context(), client), Misconfigured, refused, "")
			}
		})
	}
	if w.count() != 0 {
		t.Error("a request was sent")
	}
}

func long(length int) string { return strings.Repeat("x", length) }

func TestNobodyIsSentToAnEndpointThatIsNoWebPage(t *testing.T) {
	for _, url := range []string{
		"", "javascript:alert(1)", "javascript://as.example/%0aalert(1)", "data:text/html,x", "file:///x", "//as.example/a",
		"/a",
		"https://user:hunter2@as.example/a", "https://as.example/a#hunter2", "https://as.example\\@evil.example/",
		"https://as.example/" + long(maxURL),
	} {
		link, err := AuthorizationURL(AuthorizationRequest{Endpoint: url, ClientID: "c", State: "hunter2",
			CodeVerifier: "hunter2"})
		if link != "" {
			t.Errorf("%q makes %q", url, link)
		}
		checkHostile(t, err, Misconfigured, InvalidMetadata, "the authorization endpoint")
	}
	link, err := AuthorizationURL(AuthorizationRequest{Endpoint: "https://b\u00fccher.example/a", ClientID: "c"})
	if err != nil || !strings.HasPrefix(link, "https://xn--bcher-kva.example/a?") {
		t.Errorf("link %q, error %v", link, err)
	}
}
