package harness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startPage is a start page as the operator serves it.
const startPage = `<!doctype html><title>no</title><h1>Connect</h1><p>to <b>https://mcp.example.com</b></p>
<form method="post"><button>Continue</button></form>`

// sites are an operator and an authorization server; policy is the start page's.
func sites(t *testing.T, policy string) (link string) {
	t.Helper()
	var operator, server *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connect/x", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		if r.URL.Query().Has("done") {
			_, _ = fmt.Fprint(w, `<p>done</p>`)
			return
		}
		_, _ = fmt.Fprint(w, startPage)
	})
	mux.HandleFunc("POST /connect/x", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewCrossOriginProtection().Check(r); err != nil || r.ContentLength != 0 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "browser", Value: "1", Path: "/"})
		http.Redirect(w, r, server.URL+"/authorize", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /oauth/callback", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("browser"); err != nil || r.Header.Get("Sec-Fetch-Site") != "same-site" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Refresh", "0; url=/connect/x?done=1")
	})
	operator = httptest.NewServer(mux)
	t.Cleanup(operator.Close)
	other := http.NewServeMux()
	other.HandleFunc("GET /authorize", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `<form method="post" action="/decide"><input name="hidden" value="1">
<button name="say" value="no">Deny</button><button name="say" value="yes">Approve</button></form>`)
	})
	other.HandleFunc("POST /decide", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("hidden") == "1" && r.PostFormValue("say") == "yes" && r.Header.Get("Origin") == server.URL {
			http.Redirect(w, r, operator.URL+"/oauth/callback", http.StatusSeeOther)
		}
	})
	server = httptest.NewServer(other)
	t.Cleanup(server.Close)
	return operator.URL + "/connect/x"
}

func approve(page *Page) (*Form, error) { return page.Forms[0], page.Forms[0].Press("approve") }

func TestBrowserWalksThroughAConsent(t *testing.T) {
	page, err := NewBrowser().Consent(t.Context(), sites(t, "form-action http: https:"),
		Consent{Expect: []string{"https://mcp.example.com"}, Answer: approve})
	if err != nil || page.Status != http.StatusOK || page.Text != "done" {
		t.Fatal(page, err)
	}
}

func TestBrowserHoldsFormsToFormAction(t *testing.T) {
	_, err := NewBrowser().Consent(t.Context(), sites(t, "default-src 'none'; form-action 'self'"),
		Consent{Answer: approve})
	if err == nil || !strings.Contains(err.Error(), "form-action") {
		t.Fatalf("a browser would stop at form-action, not with: %v", err)
	}
}

func TestBrowserMissesWordsOnTheStartPage(t *testing.T) {
	_, err := NewBrowser().Consent(t.Context(), sites(t, ""), Consent{Expect: []string{"team-a/github"}, Answer: approve})
	if err == nil || !strings.Contains(err.Error(), "team-a/github") {
		t.Fatal(err)
	}
}

func TestManifestWith(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, []byte("metadata:\n  name: demo\nspec:\n  serverURL: https://old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ManifestWith(file, map[string]string{"serverURL": "https://new/$1", "name": "other"})
	if want := "metadata:\n  name: other\nspec:\n  serverURL: https://new/$1\n"; err != nil || got != want {
		t.Errorf("got %q %v, want %q", got, err, want)
	}
	if _, err := ManifestWith(file, map[string]string{"issuer": "x"}); err == nil {
		t.Error("a field that is not there should be an error")
	}
}

func TestLeaks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(`{"msg":"refreshed with token-0123456789"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &Operator{LogFile: file}
	got := o.Leaks(map[string]string{"leaked": "token-0123456789", "kept": "token-9876543210", "empty": ""})
	if len(got) != 1 || got[0] != "leaked" {
		t.Error(got)
	}
}
