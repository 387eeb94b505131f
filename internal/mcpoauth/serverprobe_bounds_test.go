package mcpoauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// greeting is the result of an initialize request.
const greeting = `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"files","version":"1"}}`

// scripted answers each method with what is written for it; %s in an answer is the request's ID.
func scripted(contentType string, answers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&call)
		answer, known := answers[call.Method]
		switch {
		case call.ID == nil:
			w.WriteHeader(http.StatusAccepted)
			return
		case !known:
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, call.ID)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, strings.ReplaceAll(answer, "%s", string(call.ID)))
	}
}

// scriptedTools greets, and answers tools/list with body.
func scriptedTools(contentType, body string) http.HandlerFunc {
	greeted := `{"jsonrpc":"2.0","id":%s,"result":` + greeting + "}"
	if contentType == "text/event-stream" {
		greeted = "data: " + greeted + "\n\n"
	}
	return scripted(contentType, map[string]string{"initialize": greeted, "tools/list": body})
}

// listOf is a tools/list answer with n tools.
func listOf(n int, tool func(i int) string) string {
	var b strings.Builder
	b.WriteString(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(tool(i))
	}
	b.WriteString(`]}}`)
	return b.String()
}

func named(i int) string { return fmt.Sprintf(`{"name":"tool-%d","inputSchema":{"type":"object"}}`, i) }

func TestAListThatIsLongerThanIsReadIsAnAnswerAllTheSame(t *testing.T) {
	padded := func(i int) string {
		return fmt.Sprintf(`{"name":"tool-%d","description":%q}`, i, strings.Repeat("x", 2000))
	}
	for name, test := range map[string]struct {
		contentType, answer string
		least, most         int32
		atLeast             bool
	}{
		"a thousand tools":                {"application/json", listOf(1000, named), 1000, 1000, false},
		"one more than a thousand":        {"application/json", listOf(1001, named), 1000, 1000, true},
		"a megabyte of tools":             {"application/json", listOf(500, padded), 100, 130, true},
		"a megabyte of tools as an event": {"text/event-stream", "data: " + listOf(500, padded) + "\n\n", 100, 130, true},
		"a megabyte of tools without a name": {"application/json", listOf(1<<18, func(int) string { return "{}" }), 1, 1,
			true},
		"one tool of a megabyte": {"application/json",
			listOf(1, func(int) string { return `{"name":"` + strings.Repeat("x", 1<<20) + `"}` }), 0, 0, true},
		"a megabyte of comments": {"text/event-stream", strings.Repeat(": waiting for something\n", 1<<16), 0, 0, true},
		"a megabyte before the tools": {"application/json", `{"_meta":"` + strings.Repeat("x", 1<<20) + `",` +
			listOf(3, named)[1:], 0, 0, true},
		"a megabyte after the tools": {"application/json", `{"result":{"tools":[{"name":"a"}]},"x":"` +
			strings.Repeat("x", 1<<20) + `"}`, 1, 1, true},
		"tools in front of the ID": {"application/json",
			`{"result":{"tools":[{"name":"a"},null,{"name":"b"}],"nextCursor":null},"id":%s}`, 2, 2, false},
		"tools that are none": {"application/json", `{"result":{"tools":null},"id":%s}`, 0, 0, false},
		"a cursor of a kilobyte": {"application/json", `{"result":{"tools":[{"name":"a"}],"nextCursor":"` +
			strings.Repeat("c", 1<<10) + `"}}`, 1, 1, false},
		"a cursor of 100 KiB": {"application/json", `{"result":{"tools":[{"name":"a"}],"nextCursor":"` +
			strings.Repeat("c", 100<<10) + `"}}`, 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.New(t)
			s.Handle(oauthtest.MCPPath, scriptedTools(test.contentType, test.answer))
			info, err := newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			if err != nil {
				t.Fatal(err)
			}
			if info.Tools < test.least || info.Tools > test.most || info.ToolsAtLeast != test.atLeast ||
				info.ProtocolVersion != "2025-06-18" || info.Name != "files" {
				t.Errorf("found %+v, want %d to %d tools, at least: %t", info, test.least, test.most, test.atLeast)
			}
		})
	}
}

func TestAGreetingThatIsCutIsUsedAsFarAsItGoes(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, answers := range map[string]map[string]string{
		"with a session": {"initialize": `{"jsonrpc":"2.0","id":%s,"result":` + greeting[:len(greeting)-1] +
			`,"instructions":"` + long + `"}}`},
		"without one": {
			"server/discover": `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"files","version":"1"}},
			"supportedVersions":["2099-01-01","2026-07-28"],"instructions":"` + long + `"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.New(t)
			answers["tools/list"] = listOf(3, named)
			s.Handle(oauthtest.MCPPath, scripted("application/json", answers))
			info, err := newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			if err != nil || info.Tools != 3 || info.ToolsAtLeast || info.Name != "files" {
				t.Errorf("found %+v, error %v", info, err)
			}
		})
	}
}

func TestAProbeAnswersNothingThatTheServerAsksMeanwhile(t *testing.T) {
	stream := ": a comment\r\n\r\nid: 1\r\ndata:\r\n\r\n" +
		"event: ping\r\ndata: not JSON\r\n\r\n" +
		"event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"roots/list\"}\r\n\r\n" +
		"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":" +
		"{\"result\":{\"tools\":[{\"name\":\"no\"}]}}}\r\n\r\n" +
		"data:{\"jsonrpc\":\"2.0\",\"id\":%s,\r\ndata:\"result\":{\"tools\":[{\"name\":\"a\"},\r\ndata: {\"name\":\"" +
		strings.Repeat("b", 10000) + "\"}]}}\r\n\r\n"
	s := oauthtest.New(t)
	s.Handle(oauthtest.MCPPath, scriptedTools("text/event-stream", stream))
	info, err := newTestClient(t, s).ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
	if err != nil || info.Tools != 2 || info.ToolsAtLeast {
		t.Errorf("found %+v, error %v", info, err)
	}
	want := []string{"POST server/discover", "POST initialize", "POST notifications/initialized", "POST tools/list"}
	if got := methods(s); !slices.Equal(got, want) {
		t.Errorf("sent %q", got)
	}
}

func TestAnAnswerIsCompleteBeforeItsConnectionIs(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		whole bool
	}{
		"a whole answer": {`{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"a"}]}}`, true},
		"half an answer": {`{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"a"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle(oauthtest.MCPPath, openUntil("tools/list", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, test.text)
			}))
			info, err := newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})
			if !test.whole {
				wantError(t, err, Transient, ServerUnreachable, "got no answer")
			} else if err != nil || info.Tools != 1 || info.ToolsAtLeast {
				t.Errorf("found %+v, error %v", info, err)
			}
		})
	}
}

func TestARefusalCountsWhateverItsBodySays(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		kind   Kind
		code   Code
	}{
		"401": {http.StatusUnauthorized, Rejected, ProbeUnauthorized},
		"403": {http.StatusForbidden, Transient, ServerUnreachable},
		"500": {http.StatusInternalServerError, Transient, ServerUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle(oauthtest.MCPPath, openUntil("tools/list",
				body(test.status, "application/json", `{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"x"}}`)))
			wantError(t, second(newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.MCPURL(), AccessToken: probeToken})), test.kind, test.code)
		})
	}
}

// probeAnswer reads one answer of a server without a connection to it.
func probeAnswer(c *Client, contentType string, body io.Reader) (*exchange, error) {
	u, _ := c.parseURL("https://mcp.example/mcp", "serverURL", InsecureURL)
	x := &exchange{client: c, url: u, left: maxBody, requests: maxProbeRequests, names: map[uint64]bool{},
		seed: maphash.MakeSeed()}
	req, _ := http.NewRequest(http.MethodPost, u.String(), nil)
	err := x.readAnswer(&http.Response{Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(body),
		Request: req}, x.readTools(new(string)))
	return x, err
}

func FuzzProbeAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"result":{"tools":[{"name":"a"},{"name":"b"}],"nextCursor":"c"},"id":1}`, `{"error":{"code":-32601}}`,
		`{"method":"ping","id":1}{"result":{}}`, `[]`, `{"result":[]}`, `{"result":{"tools":[{]}}`,
		"data: {\"result\":\ndata: {\"tools\":[5,null,\"x\",{\"name\":1}]}}\n\n", "event: x\ndata: {\n\ndata:{}\n\n:\n\n",
		"data", "data:", ":", "\r\n", "data: " + strings.Repeat(" ", 5000) + "{}",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	c := NewClient(Options{Now: time.Now})
	f.Fuzz(func(t *testing.T, text []byte, events bool) {
		contentType := "application/json"
		if events {
			contentType = "text/event-stream"
		}
		x, err := probeAnswer(c, contentType, bytes.NewReader(text))
		if len(x.names) > maxTools || x.left < maxBody-maxProbeBody ||
			(err == nil && !bytes.Contains(text, []byte("result")) && !bytes.Contains(text, []byte(`\u`))) {
			t.Errorf("%d tools of %q, error %v", len(x.names), text, err)
		}
		// What is found does not depend on how it arrives.
		slow, again := probeAnswer(c, contentType, iotest.OneByteReader(bytes.NewReader(text)))
		if len(slow.names) != len(x.names) || (again == nil) != (err == nil) {
			t.Errorf("%q: %d tools and error %v, byte by byte %d and %v", text, len(x.names), err, len(slow.names), again)
		}
	})
}
