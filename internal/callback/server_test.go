package callback

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	for _, target := range []string{"/", "/connect/" + f.ticket, "/connect/x", "/oauth/callback?state=x", "/favicon.ico", "/healthz", "/metrics"} {
		h := b.get(target).Header()
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action '", "style-src 'sha256-"} {
			if !strings.Contains(h.Get("Content-Security-Policy"), want) {
				t.Errorf("%s: Content-Security-Policy %q lacks %q", target, h.Get("Content-Security-Policy"), want)
			}
		}
	}
	w := b.do(http.MethodPost, "/connect/"+f.ticket, "")
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Error("the redirect lacks security headers")
	}
}

func TestStyleOfThePageIsTheOneThatThePolicyAllows(t *testing.T) {
	f := newFixture(t)
	w := f.browser().open()
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	content, _, _ := strings.Cut(rest, "</style>")
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), hashSource(content)) {
		t.Error("the browser would refuse the style")
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "form-action 'self' https:;") {
		t.Errorf("policy %q", w.Header().Get("Content-Security-Policy"))
	}
}

func TestFormMayReachAnHTTPServerOnlyIfItIsThere(t *testing.T) {
	f := newFixture(t, withBinding(func(b *credential.Binding) { b.AuthorizationEndpoint = "http://localhost:9000/authorize" }))
	if csp := f.browser().open().Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https: http:;") {
		t.Errorf("policy %q", csp)
	}
}

func TestOtherMethodsAre405(t *testing.T) {
	f := newFixture(t)
	f.unchanged(func() {
		for _, c := range []struct{ method, target, allow string }{
			{http.MethodPut, "/connect/" + f.ticket, "GET, HEAD, POST"},
			{http.MethodOptions, "/connect/" + f.ticket, "GET, HEAD, POST"},
			{http.MethodPost, "/oauth/callback", "GET, HEAD"},
			{http.MethodDelete, "/oauth/callback", "GET, HEAD"},
			{http.MethodPost, "/oauth/client-metadata.json", "GET, HEAD"},
		} {
			w := f.browser().do(c.method, c.target, "")
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != c.allow {
				t.Errorf("%s %s: status %d, Allow %q", c.method, c.target, w.Code, w.Header().Get("Allow"))
			}
		}
	})
}

func TestCookieIsTheContracts(t *testing.T) {
	for name, c := range map[string]struct {
		external, want string
	}{
		"https":            {externalURL, "__Host-mcp-connection=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"https and a path": {externalURL + "/mcp/", "__Host-mcp-connection=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"http on loopback": {"http://localhost:8082", "mcp-connection=VALUE; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withExternalURL(c.external))
			b := f.browser()
			w := b.do(http.MethodPost, f.server.prefix+"/connect/"+f.ticket, "")
			expect(f, w, http.StatusSeeOther)
			if got := strings.Replace(w.Header().Get("Set-Cookie"), b.cookie.Value, "VALUE", 1); got != c.want {
				t.Errorf("Set-Cookie %q, want %q", got, c.want)
			}
			value := b.cookie.Value
			expect(f, b.do(http.MethodPost, f.server.prefix+"/connect/"+f.ticket, ""), http.StatusSeeOther)
			if b.cookie.Value != value {
				t.Error("a second flow changed the browser's value")
			}
			b.cookie.Value = "chosen-by-somebody"
			expect(f, b.do(http.MethodPost, f.server.prefix+"/connect/"+f.ticket, ""), http.StatusSeeOther)
			if len(b.cookie.Value) != 43 {
				t.Errorf("a malformed value was kept: %q", b.cookie.Value)
			}
		})
	}
}

func TestPathPrefixIsHonoured(t *testing.T) {
	f := newFixture(t, withExternalURL(externalURL+"/mcp"))
	b := f.browser()
	expect(f, b.open(), http.StatusNotFound)
	expect(f, b.get("/mcpx/connect/"+f.ticket), http.StatusNotFound)
	expect(f, b.get("/mcp/connect/"+f.ticket), http.StatusOK)
	w := b.do(http.MethodPost, "/mcp/connect/"+f.ticket, "")
	expect(f, w, http.StatusSeeOther)
	state := f.credential().Authorization.Requests[0].State
	w = b.get("/mcp/oauth/callback?code=c&iss=" + issuer + "&state=" + state)
	expect(f, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != "/mcp/connect/"+f.ticket {
		t.Errorf("Location %q", got)
	}
}

func TestClientMetadataDocument(t *testing.T) {
	f := newFixture(t, withExternalURL(externalURL+"/mcp/"))
	w := f.browser().get("/mcp/oauth/client-metadata.json")
	expect(f, w, http.StatusOK)
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("headers %v", w.Header())
	}
	var got map[string]any
	f.must(json.Unmarshal(w.Body.Bytes(), &got))
	want := map[string]any{
		"client_id": externalURL + "/mcp/oauth/client-metadata.json", "redirect_uris": []any{externalURL + "/mcp/oauth/callback"},
		"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"}, "token_endpoint_auth_method": "none",
		"application_type": "web", "client_name": "mcp-connection-operator", "software_version": "1.2.3",
	}
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("document\n%s\nwant\n%s", a, b)
	}
	f = newFixture(t, withExternalURL("http://localhost:8082"))
	expect(f, f.browser().get("/oauth/client-metadata.json"), http.StatusNotFound)
	expect(f, f.browser().get("/oauth/client-metadata-jwt.json"), http.StatusNotFound)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWithoutAnExternalURLEveryPageIs404(t *testing.T) {
	f := newFixture(t, withExternalURL(""))
	expect(f, f.browser().open(), http.StatusNotFound)
	for _, path := range []string{"/oauth/client-metadata.json", "/oauth/client-metadata-jwt.json", "/oauth/jwks.json"} {
		expect(f, f.browser().get(path), http.StatusNotFound)
	}
}

func TestExternalURLIsChecked(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://connect.example.com": true, "https://connect.example.com/mcp/": true, "http://localhost:8082": true, "http://127.0.0.1:1": true, "http://[::1]:1": true,
		"http://connect.example.com": false, "connect.example.com": false, "https://": false, "https://u:p@h": false, "https://h?x": false, "https://h#x": false, "ftp://h": false, "https://h:port": false,
		"https://h//evil.example": false, `https://h/\evil.example`: false, "https://h/a%2fb": false, "https://h/a b": false,
	} {
		_, err := parseExternalURL(raw)
		if (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestMissingOptionsAreRefused(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no error")
	}
}

func TestLogHoldsNothingSecret(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	secrets := []string{f.ticket, state, "code-1", b.cookie.Value, "hunter2", issuer}
	b.get("/connect/" + f.ticket + "?password=hunter2")
	b.answer(state, "code", "code-1")
	b.do("BREW-hunter2", "/connect/"+f.ticket, "")
	f.onRead = func() error { return context.DeadlineExceeded }
	b.open()
	log := f.logs.String()
	for _, s := range secrets {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q:\n%s", s, log)
		}
	}
	for _, want := range []string{`"route"="/connect/{ticket}"`, `"route"="/oauth/callback"`, `"status"=303`, `"connection"="team-a/files"`, `"method"="other"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

func TestServerRunsOnEveryReplicaAndStopsWithTheManager(t *testing.T) {
	f := newFixture(t)
	if f.server.NeedLeaderElection() {
		t.Error("the pages would be served by the leader only")
	}
	b := f.browser()
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.server.serve(ctx, listener) }()

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/connect/"+f.ticket, nil)
	f.must(err)
	r.AddCookie(&http.Cookie{Name: b.cookie.Name, Value: b.cookie.Value})
	time.AfterFunc(300*time.Millisecond, cancel)
	began := time.Now()
	resp, err := http.DefaultClient.Do(r)
	f.must(err)
	body, err := io.ReadAll(resp.Body)
	f.must(err)
	f.must(resp.Body.Close())
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `http-equiv="refresh"`) {
		t.Errorf("a page that waited got status %d when the server stopped", resp.StatusCode)
	}
	f.must(<-done)
	if time.Since(began) > outcomeWait/2 {
		t.Error("stopping took as long as a page may wait")
	}
}

func TestStartFailsOnABusyAddress(t *testing.T) {
	f := newFixture(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	defer func() { f.must(listener.Close()) }()
	f.server.o.BindAddress = listener.Addr().String()
	if err := f.server.Start(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestForeignOrBrokenSecretsAreNotUsed(t *testing.T) {
	t.Run("a Secret without the label is unknown", func(t *testing.T) {
		f := newFixture(t)
		f.editSecret(func(labels, _ map[string]string, _ map[string][]byte) { labels[v1alpha1.LabelSecretType] = "token" })
		expect(f, f.browser().open(), http.StatusNotFound)
	})
	t.Run("a Secret of another connection is unknown", func(t *testing.T) {
		f := newFixture(t)
		f.editSecret(func(_, annotations map[string]string, _ map[string][]byte) {
			annotations[credential.AnnotationUID] = "other"
		})
		expect(f, f.browser().open(), http.StatusNotFound)
	})
	t.Run("a broken Secret is the operator's to mend", func(t *testing.T) {
		f := newFixture(t)
		f.editSecret(func(_, _ map[string]string, data map[string][]byte) { data["authorization"] = []byte("{secret") })
		w := f.browser().open()
		expect(f, w, http.StatusInternalServerError)
		if strings.Contains(f.logs.String()+w.Body.String(), "{secret") {
			t.Error("contents of the Secret leak")
		}
	})
	t.Run("another object of the same name is not the connection", func(t *testing.T) {
		f := newFixture(t)
		f.editConnection(func(c *v1alpha1.MCPConnection) { c.UID = "11111111-2222-4333-8444-555555555555" })
		expect(f, f.browser().open(), http.StatusGone)
	})
}
