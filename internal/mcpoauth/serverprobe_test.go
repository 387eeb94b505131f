package mcpoauth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// probeToken must not show in any error: see errorLike.
const probeToken = "hunter2-token"

// serve has an MCP server of the official SDK answer in place of the fake one.
func serve(s *oauthtest.Server, tools int32, o *mcp.StreamableHTTPOptions) {
	server := mcp.NewServer(&mcp.Implementation{Name: "files", Version: "2.1.0"}, &mcp.ServerOptions{PageSize: 5})
	for i := range tools {
		mcp.AddTool(server, &mcp.Tool{Name: fmt.Sprintf("tool-%d", i)},
			func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{}, nil, nil
			})
	}
	s.Handle(oauthtest.MCPPath, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		o).ServeHTTP)
}

func methods(s *oauthtest.Server) []string {
	var out []string
	for _, r := range s.Requests() {
		var call struct{ Method string }
		_ = json.Unmarshal([]byte(r.Body), &call)
		out = append(out, strings.TrimSpace(r.Method+" "+call.Method))
	}
	return out
}

func TestAServerOfEachKindIsProbed(t *testing.T) {
	for name, test := range map[string]struct {
		options  *mcp.StreamableHTTPOptions
		tools    int32
		version  string
		sessions bool
	}{
		"with sessions": {options: &mcp.StreamableHTTPOptions{}, tools: 12, version: "2025-11-25", sessions: true},
		"with sessions, by JSON": {options: &mcp.StreamableHTTPOptions{JSONResponse: true}, tools: 1,
			version: "2025-11-25", sessions: true},
		"without sessions": {options: &mcp.StreamableHTTPOptions{Stateless: true}, tools: 12, version: "2026-07-28"},
		"without sessions, by JSON": {options: &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}, tools: 3,
			version: "2026-07-28"},
		"without sessions and tools": {options: &mcp.StreamableHTTPOptions{Stateless: true}, version: "2026-07-28"},
		"with more tools than we read": {options: &mcp.StreamableHTTPOptions{Stateless: true}, tools: 99,
			version: "2026-07-28"},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			serve(s, test.tools, test.options)
			info, err := newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			if err != nil {
				t.Fatal(err)
			}
			if want := (ServerInfo{Name: "files", Version: "2.1.0", ProtocolVersion: test.version, Tools: min(test.tools, 50),
				ToolsAtLeast: test.tools > 50}); *info != want {
				t.Errorf("found %+v, want %+v", *info, want)
			}
			if got := methods(s); slices.Contains(got, "DELETE") != test.sessions {
				t.Errorf("the requests are %q", got)
			}
			for _, r := range s.Requests() {
				if r.Header.Get("Authorization") != "Bearer "+probeToken ||
					r.Header.Get("User-Agent") != "mcp-connection-operator/test" {
					t.Errorf("%s was sent with %v", r.Method, r.Header)
				}
			}
		})
	}
}

func TestTheFakeServerIsProbedWithATokenBoundToAKey(t *testing.T) {
	for _, nonce := range []string{"", "n-1"} {
		t.Run("nonce "+nonce, func(t *testing.T) {
			s := oauthtest.New(t, func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, nonce })
			c := newTestClient(t, s)
			ep, request := dpopEndpoint(t, c, s)
			token, err := c.Exchange(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			before := len(s.Requests())
			probe := ServerProbe{ServerURL: s.MCPURL(), AccessToken: token.AccessToken, DPoP: ep.DPoP}
			for range 2 {
				info, err := c.ProbeServer(t.Context(), probe)
				if err != nil || info.Name != "oauthtest" || info.Tools != 1 {
					t.Fatalf("found %+v, %v", info, err)
				}
			}
			seen := map[string]bool{}
			for _, r := range s.Requests()[before:] {
				if proof := r.Header.Get("DPoP"); seen[proof] || !strings.HasPrefix(r.Header.Get("Authorization"), "DPoP ") {
					t.Errorf("%s was sent with a used proof, or with scheme %.6s", r.Method, r.Header.Get("Authorization"))
				}
				seen[r.Header.Get("DPoP")] = true
			}
			// The nonce is asked for once: the second probe knows it.
			if got, want := len(seen), 8+min(1, len(nonce)); got != want {
				t.Errorf("%d requests, want %d: %q", got, want, methods(s))
			}
			wantError(t, second(c.ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: token.AccessToken,
				DPoP: GenerateDPoPKey()})),
				Rejected, ProbeUnauthorized)
		})
	}
}

func second[T any](_ T, err error) error { return err }

// openUntil answers as an open server does until a method is called.
func openUntil(method string, then http.HandlerFunc) http.HandlerFunc {
	server := mcp.NewServer(&mcp.Implementation{Name: "files", Version: "1"}, nil)
	open := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	return func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(text))
		if bytes.Contains(text, []byte(`"`+method+`"`)) {
			then(w, r)
			return
		}
		open.ServeHTTP(w, r)
	}
}

func challenge(status int, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", value)
		http.Error(w, "no, "+probeToken, status)
	}
}

func stream(event string, times int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < times || times < 0; i++ {
			if _, err := fmt.Fprint(w, event); err != nil || r.Context().Err() != nil {
				return
			}
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func TestAProbeThatFailsSaysWhyInTime(t *testing.T) {
	insufficient := `Bearer error="insufficient_scope", scope="files:write files:admin"`
	for name, test := range map[string]struct {
		answer   http.HandlerFunc
		kind     Kind
		code     Code
		contains string
		scopes   []string
		requests int
	}{
		"the token is refused": {answer: challenge(401, `Bearer error="invalid_token"`), kind: Rejected,
			code: ProbeUnauthorized, contains: "answered 401 Unauthorized to the token", requests: 1},
		"the token is refused with a nonce": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("DPoP-Nonce", "n")
			w.WriteHeader(401)
		}, kind: Rejected, code: ProbeUnauthorized, requests: 1},
		"it is refused for the tools alone": {answer: openUntil("tools/list", challenge(401, "Bearer")), kind: Rejected,
			code: ProbeUnauthorized},
		"scopes are missing": {answer: challenge(403, insufficient), kind: Rejected,
			code: InsufficientScope, scopes: []string{"files:write", "files:admin"}, requests: 1},
		"they are missing for the tools alone": {answer: openUntil("tools/list", challenge(403, insufficient)),
			kind: Rejected, code: InsufficientScope, scopes: []string{"files:write", "files:admin"}},
		"it is forbidden for no reason": {answer: status(403), code: ServerUnreachable, contains: "answered 403 Forbidden"},
		"the server is down":            {answer: status(503), code: ServerUnreachable, contains: "answered 503"},
		"the server goes down": {answer: openUntil("tools/list", status(502)), code: ServerUnreachable,
			contains: "answered 502"},
		"the connection drops": {answer: dropConnection, code: ServerUnreachable, contains: "got no answer"},
		"there is a web page": {answer: body(200, "text/html; charset=utf-8", "<html>"+probeToken),
			code: ServerUnreachable, contains: "not MCP"},
		"there is other JSON": {answer: body(200, "application/json", `{"`+probeToken+`":1}`), code: ServerUnreachable,
			contains: "does not speak MCP"},
		"there is nothing": {answer: status(404), code: ServerUnreachable, contains: "answered 404"},
		"it redirects": {answer: http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP,
			code: ServerUnreachable, contains: "put the URL", requests: 2},
		"it answers with errors": {answer: body(200, "application/json",
			`{"jsonrpc":"2.0","id":2,"error":{"code":-32099,"message":"`+probeToken+`"}}`), code: ServerUnreachable},
		"the stream never ends":  {answer: stream(": waiting\n\n", 3), code: ServerUnreachable, contains: "within 3s"},
		"the stream is too long": {answer: stream(": "+strings.Repeat("x", 4096)+"\n\n", -1), code: ServerUnreachable},
		"one answer is too long": {answer: body(200, "application/json", `{"x":"`+strings.Repeat("x", maxBody)+`"}`),
			code: ServerUnreachable, contains: "256 KiB"},
		"tools/list never answers": {answer: openUntil("tools/list", stream(": waiting\n\n", 1)), code: ServerUnreachable,
			contains: "within 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.New(t)
			s.Handle(oauthtest.MCPPath, test.answer)
			c := newTestClient(t, s, func(o *Options) { o.Timeout = 3 * time.Second })
			_, err := c.ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			e := errorLike(t, err, test.kind, test.code, test.contains)
			if (e.Challenge == nil) != (test.kind != Rejected) ||
				(e.Challenge != nil && !slices.Equal(e.Challenge.Scopes, test.scopes)) {
				t.Errorf("the challenge is %+v", e.Challenge)
			}
			if got := methods(s); test.requests != 0 && len(got) != test.requests {
				t.Errorf("%d requests, want %d: %q", len(got), test.requests, got)
			}
		})
	}
}

func TestAServerMayNotHaveTheProbeSendWithoutEnd(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle(oauthtest.MCPPath, stream("data: {\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"ping\"}\n\n", 2000))
	_, err := newTestClient(t, s).ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
	wantError(t, err, Transient, ServerUnreachable, "more requests")
	if got := len(s.Requests()); got > maxProbeRequests {
		t.Errorf("%d requests were sent", got)
	}
}

func TestASessionThatCannotBeEndedHoldsNobodyUp(t *testing.T) {
	s := oauthtest.New(t)
	open := openUntil("nothing", nil)
	s.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			<-r.Context().Done()
			return
		}
		open(w, r)
	})
	c := newTestClient(t, s, func(o *Options) { o.Timeout = 3 * time.Second })
	if _, err := c.ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken}); err != nil {
		t.Error(err)
	}
	if !slices.Contains(methods(s), "DELETE") {
		t.Errorf("the session was not ended: %q", methods(s))
	}
}

func TestAProbeObeysTheRulesOfEveryRequest(t *testing.T) {
	s := oauthtest.New(t)
	private := newTestClient(t, s, func(o *Options) { o.AllowCIDRs = []netip.Prefix{} })
	wantError(t, second(private.ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})),
		Misconfigured, EgressDenied)
	secure := newTestClient(t, s, func(o *Options) { o.AllowInsecureHTTP = false })
	wantError(t, second(secure.ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})),
		Misconfigured, InsecureURL)
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
}

func TestABearerServerIsNeverShownABoundTokenAsBearer(t *testing.T) {
	s := oauthtest.New(t)
	var bearer atomic.Int32
	s.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer") {
			bearer.Add(1)
		}
		w.Header().Set("DPoP-Nonce", fmt.Sprint(time.Now().UnixNano())) // another each time
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err := newTestClient(t, s).ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken,
		DPoP: GenerateDPoPKey()})
	wantError(t, err, Rejected, ProbeUnauthorized)
	if got := len(s.Requests()); got != 2 || bearer.Load() != 0 {
		t.Errorf("%d requests, %d of them with a bearer token", got, bearer.Load())
	}
}

// pages answers each tools/list by what next makes of its cursor.
func pages(next func(cursor string) (tools []string, nextCursor string)) http.HandlerFunc {
	return openUntil("tools/list", func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID     json.RawMessage
			Params struct{ Cursor string }
		}
		_ = json.NewDecoder(r.Body).Decode(&call)
		names, cursor := next(call.Params.Cursor)
		tools := []map[string]any{}
		for _, name := range names {
			tools = append(tools, map[string]any{"name": name, "inputSchema": map[string]string{"type": "object"}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID,
			"result": map[string]any{"tools": tools, "nextCursor": cursor}})
	})
}

func TestAToolCountsOnceWhateverACursorDoes(t *testing.T) {
	for name, test := range map[string]struct {
		next         func(cursor string) ([]string, string)
		tools, pages int
	}{
		"a cursor that stands still": {func(string) ([]string, string) { return []string{"a", "b"}, "here" }, 2, 2},
		"a cursor that goes in a circle": {func(cursor string) ([]string, string) {
			return []string{"tool of " + cursor}, map[string]string{"": "1", "1": "2", "2": "1"}[cursor]
		}, 3, 3},
		"a page that repeats a tool": {func(cursor string) ([]string, string) {
			return []string{"a", "a", "b" + cursor}, map[string]string{"": "1"}[cursor]
		}, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle(oauthtest.MCPPath, pages(test.next))
			info, err := newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for _, method := range methods(s) {
				if method == "POST tools/list" {
					asked++
				}
			}
			if int(info.Tools) != test.tools || asked != test.pages {
				t.Errorf("%d tools after %d pages, want %d after %d", info.Tools, asked, test.tools, test.pages)
			}
		})
	}
}
