package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestTextsAreScrubbed(t *testing.T) {
	const (
		hook      = "https://hooks.test/services/T00000000/"
		wellKnown = "https://a.test/.well-known/oauth-protected-resource/v1"
	)
	s := &scrubber{}
	s.learn("https://connect.example.test/prefix/connect/3q2-7wTicket?x=the-query")
	s.learn("a known s3cret")
	s.learn("abc") // too short to look for
	for text, want := range map[string]string{
		"The authorization server is https://auth.example.test.": "The authorization server is https://auth.example.test.",
		"GET https://u:p@a.test/x?key=(v) and (see https://b.test/y).": "GET https://a.test/x?(redacted) and " +
			"(see https://b.test/y).",
		"once more https://a.test/x?(redacted)":                            "once more https://a.test/x?(redacted)",
		"Open https://other.test/connect/AAAA_bbb-1 now":                   "Open https://other.test/connect/(redacted) now",
		"ticket 3q2-7wTicket, query the-query, abc":                        "ticket (redacted), query (redacted), abc",
		"a+known+s3cret YSBrbm93biBzM2NyZXQ= 61206b6e6f776e20733363726574": "(redacted) (redacted) (redacted)",
		"Authorization: Bearer abcdefgh then DPoP xyzxyzxyz": "Authorization: Bearer (redacted) " +
			"then DPoP (redacted)",
		`WWW-Authenticate: Bearer resource_metadata="https://a.test/m"`: `WWW-Authenticate: Bearer resource_metadata="https://a.test/m"`,
		"code=AbCdEfGhIjKlMnOpQr12":                                     "(redacted)",
		"sha 0123456789abcdef0123456789abcdef":                          "sha (redacted)",
		"RefreshOutcomeUnknownIsALongWord mcp-connection-controller-manager-7d9f8b": "RefreshOutcomeUnknownIsALongWord " +
			"mcp-connection-controller-manager-7d9f8b",
		"uid f06cd65f-5eaa-4bab-9087-0645f255978e at 2026-12-01T12:37:58Z": "uid f06cd65f-5eaa-4bab-9087-0645f255978e " +
			"at 2026-12-01T12:37:58Z",
		"alice@example.test consented":                                         "(redacted) consented",
		"POST " + hook + "planted-hook-0001/x failed":                          "POST " + hook + "(redacted)/x failed",
		"(https://a.test/f06cd65f-5eaa-4bab-9087-0645f255978e/mcp?(redacted).": "(https://a.test/(redacted)/mcp?(redacted).",
		"https://a.test/f06cd65f-5eaa-4bab-9087-0645f255978e?(redacted)":       "https://a.test/(redacted)?(redacted)",
		wellKnown + ", then":                                                   wellKnown + ", then",
		"://% http://[::1 x":                                                   "://% (redacted) x",
	} {
		if got := s.text(text); got != want {
			t.Errorf("%q\nis   %q\nwant %q", text, got, want)
		}
	}
}

func TestLinesOfOneConnectionAreTaken(t *testing.T) {
	long := `{"connection":"team-a/files","msg":"` + strings.Repeat("x", maxLine) + `"}`
	log := strings.Join([]string{
		`{"msg":"json","connection":"team-a/files"}`,
		`2026-12-01T00:00:00Z	INFO	console	{"connection": "team-a/files"}`,
		`{"msg":"another","connection":"team-a/files2"}`,
		`{"msg":"no connection, but team-a/files in the text"}`,
		"not JSON: team-a/files", long, `{"msg":"last","connection":"team-a/files"}`,
	}, "\n")
	lines, err := linesOf(strings.NewReader(log), "team-a/files")
	if err != nil || len(lines) != 3 || !strings.Contains(lines[0], "json") || !strings.Contains(lines[1], "console") ||
		!strings.Contains(lines[2], "last") {
		t.Errorf("%d lines: %.300q (%v)", len(lines), lines, err)
	}
}

// TestEveryTextOfAnObjectIsLookedAt fills every field, and reads the whole object that is left.
func TestEveryTextOfAnObjectIsLookedAt(t *testing.T) {
	const secret = "s3cret-of-a-field"
	conn := &v1alpha1.MCPConnection{}
	raw := `{"metadata":{"annotations":{"a":"` + secret + `"},"labels":{"l":"` + secret +
		`"},"managedFields":[{"manager":"` + secret + `"}]},
"spec":{"serverURL":"https://a.test/mcp?k=` + secret + `","client":{"uri":"https://a.test/?k=` + secret + `"},
"authorizationServer":{"tokenEndpoint":"https://u:` + secret +
		`@a.test/t"},"compatibility":{"authorizationParameters":{"p":"` + secret + `"},"tokenParameters":{"p":"` + secret +
		`"},"resource":{"value":"https://a.test/#` + secret + `"}},
"tokenSecret":{"data":{"d":"` + secret + `"},"labels":{"l":"` + secret + `"},"annotations":{"a":"` + secret + `"}},
"identityProvider":{"tokenEndpoint":"https://a.test/t?k=` + secret + `"}},
"status":{"authorizationURL":"https://a.test/connect/` + secret + `","authorizedBy":"` + secret +
		`","lastHandled":{"refresh":"` + secret + `","challenge":"` + secret + `"},
"failure":{"trigger":"` + secret + `","message":"it said ` + secret + `"},"conditions":[{"message":"it said ` + secret +
		`"}],"server":{"name":"` + secret + `"}}}`
	if err := json.Unmarshal([]byte(raw), conn); err != nil {
		t.Fatal(err)
	}
	s := &scrubber{}
	text, err := tree(redactObject(conn, s), s)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, secret) {
		t.Errorf("the object holds the secret:\n%s", text)
	}
	if !strings.Contains(text, "it said (redacted)") ||
		!strings.Contains(text, "serverURL: https://a.test/mcp?(redacted)\n") {
		t.Errorf("too much is left out:\n%s", text)
	}
}

func TestPartOfAPathIsLookedForEverywhere(t *testing.T) {
	s, location := &scrubber{}, "https://a.test/capability-2f9c01/mcp"
	redactURL(&location, s)
	if got := s.text("at capability-2f9c01: not found"); location != "https://a.test/(redacted)/mcp" ||
		got != "at (redacted): not found" {
		t.Errorf("%s, and %q", location, got)
	}
}

func TestPersonWhomOnePodAuditsIsLeftOutOfTheLogOfAnother(t *testing.T) {
	text := printed([]podLog{
		{pod: "first", lines: []string{`{"connection":"team-a/files","msg":"told by Planted Person"}`}},
		{pod: "second", lines: []string{`{"connection":"team-a/files","msg":"consent","user":"Planted Person"}`}},
	}, &scrubber{})
	if strings.Contains(text, "Planted Person") || !strings.Contains(text, "told by (redacted)") {
		t.Error(text)
	}
}
