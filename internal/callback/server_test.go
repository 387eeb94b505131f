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

	"github.com/mcp-connection/operator/internal/credential"
)

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	f := newFake(t)
	b := f.browser()
	for _, target := range []string{"/", "/connect/" + f.ticket, "/connect/x", "/oauth/callback?state=x", "/favicon.ico",
		"/healthz", "/metrics"} {
		h := b.get(target).Header()
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options":            "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
			"Content-Type": "text/html; charset=utf-8",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action '",
			"style-src 'sha256-"} {
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
	f := newFake(t)
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
	f := newFake(t,
		withBinding(func(b *credential.Binding) { b.AuthorizationEndpoint = "http://localhost:9000/authorize" }))
	if csp := f.browser().open().Header().Get("Content-Security-Policy"); !strings.Contains(csp,
		"form-action 'self' https: http:;") {
		t.Errorf("policy %q", csp)
	}
}

func TestOtherMethodsAre405(t *testing.T) {
	f := newFake(t)
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

func TestClientMetadataDocument(t *testing.T) {
	f := newFake(t, withExternalURL(externalURL+"/mcp/"))
	w := f.browser().get("/mcp/oauth/client-metadata.json")
	expect(f, w, http.StatusOK)
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("headers %v", w.Header())
	}
	var got map[string]any
	f.must(json.Unmarshal(w.Body.Bytes(), &got))
	want := map[string]any{
		"client_id":     externalURL + "/mcp/oauth/client-metadata.json",
		"redirect_uris": []any{externalURL + "/mcp/oauth/callback"},
		"grant_types":   []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		"token_endpoint_auth_method": "none",
		"application_type":           "web", "client_name": "mcp-connection-operator", "software_version": "1.2.3",
	}
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("document\n%s\nwant\n%s", a, b)
	}
	f = newFake(t, withExternalURL("http://localhost:8082"))
	expect(f, f.browser().get("/oauth/client-metadata.json"), http.StatusNotFound)
	expect(f, f.browser().get("/oauth/client-metadata-jwt.json"), http.StatusNotFound)
}

func TestTheDocumentOfAClientThatSigns(t *testing.T) {
	f := newFake(t, withExternalURL(externalURL+"/mcp/"))
	w := f.browser().get("/mcp/oauth/client-metadata-jwt.json")
	expect(f, w, http.StatusOK)
	var got map[string]any
	f.must(json.Unmarshal(w.Body.Bytes(), &got))
	want := map[string]any{
		"client_id":     externalURL + "/mcp/oauth/client-metadata-jwt.json",
		"redirect_uris": []any{externalURL + "/mcp/oauth/callback"},
		"grant_types":   []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		"token_endpoint_auth_method":      "private_key_jwt",
		"token_endpoint_auth_signing_alg": "ES256", "jwks_uri": externalURL + "/mcp/oauth/jwks.json",
		"application_type": "web", "client_name": "mcp-connection-operator", "software_version": "1.2.3",
	}
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("document\n%s\nwant\n%s", a, b)
	}
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
	f := newFake(t, withExternalURL(""))
	expect(f, f.browser().open(), http.StatusNotFound)
	for _, path := range []string{"/oauth/client-metadata.json", "/oauth/client-metadata-jwt.json", "/oauth/jwks.json"} {
		expect(f, f.browser().get(path), http.StatusNotFound)
	}
}

func TestExternalURLIsChecked(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://connect.example.com": true, "https://connect.example.com/mcp/": true, "http://localhost:8082": true,
		"http://127.0.0.1:1": true, "http://[::1]:1": true,
		"http://connect.example.com": false, "connect.example.com": false, "https://": false, "https://u:p@h": false,
		"https://h?x": false, "https://h#x": false, "ftp://h": false, "https://h:port": false,
		"https://h//evil.example": false, `https://h/\evil.example`: false, "https://h/a%2fb": false, "https://h/a b": false,
	} {
		_, err := parseExternalURL(raw)
		if (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestTheUserHeaderWantsAProxy(t *testing.T) {
	o := newFake(t).server.o
	o.UserHeader = userHeader
	if _, err := New(o); err == nil {
		t.Error("a header from anywhere would be believed")
	}
}

func TestMissingOptionsAreRefused(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no error")
	}
}

func TestServerRunsOnEveryReplicaAndStopsWithTheManager(t *testing.T) {
	f := newFake(t)
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

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/connect/"+
		f.ticket, nil)
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
	f := newFake(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	defer func() { f.must(listener.Close()) }()
	f.server.o.BindAddress = listener.Addr().String()
	if err := f.server.Start(t.Context()); err == nil {
		t.Error("no error")
	}
}
