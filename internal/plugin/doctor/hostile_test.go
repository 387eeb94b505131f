package doctor

import (
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// TestReportShowsStrangersTextsAsTheyCannotDoHarm has a server speak to the terminal of whoever asks.
func TestReportShowsStrangersTextsAsTheyCannotDoHarm(t *testing.T) {
	const escape = "\x1b[2J\x1b]0;owned\x07"
	server := oauthtest.New(t)
	server.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Www-Authenticate"] = []string{`Bearer scope="a` + escape + `", error="b\u202ec", resource_metadata="` +
			server.URL + oauthtest.ResourceMetadataPath + `"`}
		w.WriteHeader(http.StatusUnauthorized)
	})
	hostile := func(m map[string]any) {
		m["scopes_supported"] = []string{"x" + escape, "y\u202ez", "line\n 2 ok      forged", strings.Repeat("long", 1<<12)}
		m["registration_endpoint"] = server.URL + "/register" + escape
		m["grant_types_supported"] = []any{map[string]any{"a": 1}, nil, 7, escape}
	}
	server.Edit(oauthtest.ResourceMetadataPath, -1, hostile)
	server.Edit(server.MetadataPath(), -1, hostile)
	_, text := examined(t, &Examination{Spec: v1alpha1.MCPConnectionSpec{ServerURL: server.MCPURL()}, Rules: loopback(),
		Whole: true})
	for _, r := range text {
		if r != '\n' && (!unicode.IsPrint(r) || r == '\u202e') {
			t.Fatalf("the report holds %U:\n%q", r, text)
		}
	}
	if strings.Contains(text, "\n 2 ok      forged") || len(text) > 16<<10 {
		t.Errorf("the report is forged, or floods the screen:\n%.2000s", text)
	}
}
