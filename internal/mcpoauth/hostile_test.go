package mcpoauth

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The hostile document suite: servers without any library of ours behind them, asked through the public API. Every
// secret that is sent to them, and what must not be repeated of their answers, holds "hunter2".

const (
	hostileResource = "/.well-known/oauth-protected-resource/mcp"
	hostileServer   = "/.well-known/oauth-authorization-server"
)

// world is a good MCP server with its authorization server over TLS, but for what a test replaces.
type world struct {
	*httptest.Server
	answers map[string]http.HandlerFunc

	mu    sync.Mutex
	asked []string
}

// newWorld replaces the answer of one path. BASE in a document is the server's URL.
func newWorld(t *testing.T, path string, answer http.HandlerFunc) *world {
	t.Helper()
	w := &world{}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.StartTLS()
	t.Cleanup(func() { w.CloseClientConnections(); w.Close() })
	w.answers = map[string]http.HandlerFunc{
		"/mcp": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+w.URL+hostileResource+`"`)
			rw.WriteHeader(http.StatusUnauthorized)
		},
		hostileResource: w.document(`{"resource":"BASE/mcp","authorization_servers":["BASE"]}`),
		hostileServer:   w.document(goodServer),
	}
	if answer != nil {
		w.answers[path] = answer
	}
	return w
}

const goodServer = `{"issuer":"BASE","authorization_endpoint":"BASE/authorize","token_endpoint":"BASE/token","registration_endpoint":"BASE/register","code_challenge_methods_supported":["S256"]}`

func (w *world) document(text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, strings.ReplaceAll(text, "BASE", w.URL))
	}
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	// Only then does the server notice that a client has gone.
	_, _ = io.Copy(io.Discard, r.Body)
	w.mu.Lock()
	w.asked = append(w.asked, r.Method+" "+r.URL.Path)
	answer := w.answers[r.URL.Path]
	w.mu.Unlock()
	if answer == nil {
		http.NotFound(rw, r)
		return
	}
	answer(rw, r)
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func (w *world) client(change ...func(*Options)) *Client {
	o := Options{
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool(w.Server), Now: time.Now,
		Timeout: 5 * time.Second, Resolver: fakeResolver{"private.example": {"10.0.0.1"}},
	}
	for _, f := range change {
		f(&o)
	}
	return NewClient(o).For(w.URL)
}

func (w *world) discover(t *testing.T, c *Client) (*Discovery, error) {
	t.Helper()
	return c.Discover(t.Context(), DiscoveryRequest{ServerURL: w.URL + "/mcp"})
}

// hostile is one document, and what has to come of it.
type hostile struct {
	name, text string
	kind       Kind
	code       Code
	want       string
}

// checkHostile checks the error, and that it is fit to be shown.
func checkHostile(t *testing.T, err error, kind Kind, code Code, want string) {
	t.Helper()
	_ = hostileError(t, err, kind, code, want)
}

// hostileError is checkHostile for tests that look at more of the error.
func hostileError(t *testing.T, err error, kind Kind, code Code, want string) *Error {
	t.Helper()
	e := errorLike(t, err, kind, code, want)
	checkMessage(t, e)
	if all := fmt.Sprintf("%+v %s", *e, err); strings.Contains(all, "hunter2") ||
		strings.ContainsFunc(e.Message, func(r rune) bool { return r > '~' && r != '…' }) {
		t.Errorf("the error repeats what it must not: %s", all)
	}
	return e
}

func TestHostileResourceMetadata(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)
	for _, tt := range []hostile{
		{"a member twice", `{"resource":"BASE/mcp","resource":"https://hunter2.example"}`, Misconfigured, InvalidMetadata,
			"twice"},
		{"a member twice, once by an escape", `{"resource":"BASE/mcp","\u0072esource":"https://hunter2.example"}`,
			Misconfigured, InvalidMetadata, "twice"},
		{"a member twice within another", `{"resource":"BASE/mcp","x":[{"hunter":1,"hunter":"hunter2"}]}`, Misconfigured,
			InvalidMetadata, "twice"},
		{"a member in another case", `{"resource":"BASE/mcp","Authorization_Servers":["https://hunter2.example"]}`,
			Misconfigured, InvalidMetadata, "must be spelled"},
		{"a member with a letter that folds", `{"resource":"BASE/mcp","re` + "\u017f" + `ource":"hunter2"}`, Misconfigured,
			InvalidMetadata, `"re\u017fource", which must be spelled`},
		{"too deep objects", `{"resource":"BASE/mcp","x":` + deep + `}`, Misconfigured, InvalidMetadata, "deeply"},
		{"a hundred thousand brackets", `{"resource":` + strings.Repeat("[", 100000), Misconfigured, InvalidMetadata,
			"deeply"},
		{"a resource that is an array", `{"resource":["hunter2"]}`, Misconfigured, InvalidMetadata, "type string"},
		{"a resource that is a number", `{"resource":1e999}`, Misconfigured, InvalidMetadata, "type string"},
		{"servers that are a string", `{"resource":"BASE/mcp","authorization_servers":"https://hunter2.example"}`,
			Misconfigured, InvalidMetadata, "array of strings"},
		{"servers that are objects", `{"resource":"BASE/mcp","authorization_servers":[{"hunter2":1}]}`, Misconfigured,
			InvalidMetadata, "type string"},
		{"a boolean that is a string", `{"resource":"BASE/mcp","dpop_bound_access_tokens_required":"hunter2"}`, Misconfigured,
			InvalidMetadata, "boolean"},
		{"no resource", `{"authorization_servers":["BASE"],"hunter2":1}`, Misconfigured, InvalidMetadata, "no resource"},
		{"a null resource", `{"resource":null,"authorization_servers":["BASE"]}`, Misconfigured, InvalidMetadata,
			"no resource"},
		{"no servers", `{"resource":"BASE/mcp","authorization_servers":[]}`, Misconfigured, InvalidMetadata, "lists no"},
		{"another origin's resource", `{"resource":"https://elsewhere.example/mcp?hunter2"}`, Misconfigured, ResourceMismatch,
			"https://elsewhere.example/mcp"},
		{"a homograph's resource", `{"resource":"https://` + "\u0430" + `pple.example/mcp"}`, Misconfigured, ResourceMismatch,
			"https://xn--pple-43d.example/mcp"},
		{"the resource of a path beside it", `{"resource":"BASE/mc","authorization_servers":["BASE"]}`, Misconfigured,
			ResourceMismatch, ""},
		{"a resource that climbs", `{"resource":"BASE/mcp/..","authorization_servers":["BASE"]}`, Misconfigured,
			ResourceMismatch, ""},
		{"a resource with a password", `{"resource":"https://user:hunter2@elsewhere.example/mcp"}`, Misconfigured,
			ResourceMismatch, "https://elsewhere.example/mcp"},
		{"a resource with a fragment", `{"resource":"BASE/mcp#hunter2"}`, Misconfigured, ResourceMismatch, ""},
		{"a resource that is no URL", `{"resource":"%zz hunter2"}`, Misconfigured, ResourceMismatch, "(not a URL)"},
		{"bytes that are not UTF-8", "{\"resource\":\"BASE/mcp\",\"x\":\"hunter2\xff\xfe\"}", Misconfigured, InvalidMetadata,
			"UTF-8"},
		{"half a surrogate pair in a known name", `{"resource":"BASE/mcp","resource\ud800":"hunter2"}`, Misconfigured,
			InvalidMetadata, "lists no"},
		{"a NUL byte", "{\"resource\":\"BASE/mcp\x00hunter2\"}", Misconfigured, InvalidMetadata, "not valid JSON"},
		{"an end in the middle", `{"resource":"hunter2`, Misconfigured, InvalidMetadata, "not valid JSON"},
		{"a second document", `{"resource":"BASE/mcp"}{"resource":"hunter2"}`, Misconfigured, InvalidMetadata, "follows"},
		{"a comment", `{"resource":"BASE/mcp"/* hunter2 */}`, Misconfigured, InvalidMetadata, "not valid JSON"},
		{"more than a mebibyte", `{"resource":"BASE/mcp","hunter2":"` + strings.Repeat("x", maxBody) + `"}`, Misconfigured,
			InvalidMetadata, "larger"},
		{"an array around it", `[{"resource":"hunter2"}]`, Misconfigured, MetadataNotFound, ""},
		{"a string", `"hunter2"`, Misconfigured, MetadataNotFound, ""},
		{"a web page", `<html>hunter2</html>`, Misconfigured, MetadataNotFound, ""},
		{"UTF-16", "\xff\xfe{\x00}\x00", Misconfigured, MetadataNotFound, ""},
		{"two byte order marks", "\uFEFF\uFEFF{}", Misconfigured, MetadataNotFound, ""},
		{"nothing", "", Misconfigured, MetadataNotFound, ""},
		{"a server at an unsafe scheme", `{"resource":"BASE/mcp","authorization_servers":["javascript:alert('hunter2')"]}`,
			Misconfigured, InvalidMetadata, "https URL"},
		{"a server on a file", `{"resource":"BASE/mcp","authorization_servers":["file:///etc/passwd"]}`, Misconfigured,
			InvalidMetadata, "https URL"},
		{"a server by http", `{"resource":"BASE/mcp","authorization_servers":["http://as.example?hunter2"]}`, Misconfigured,
			InsecureURL, "--allow-insecure-http"},
		{"a server with a password", `{"resource":"BASE/mcp","authorization_servers":["https://user:hunter2@as.example"]}`,
			Misconfigured, InvalidMetadata, "user name"},
		{"a server with a query", `{"resource":"BASE/mcp","authorization_servers":["BASE?hunter2"]}`, Misconfigured,
			InvalidMetadata, "query"},
		{"a server with an escaped NUL",
			`{"resource":"BASE/mcp","authorization_servers":["https://as.example\u0000hunter2"]}`, Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a server with a line break",
			`{"resource":"BASE/mcp","authorization_servers":["https://as.example/\r\nhunter2: 1"]}`, Misconfigured,
			InvalidMetadata, "not a valid URL"},
		{"a server inside", `{"resource":"BASE/mcp","authorization_servers":["https://private.example"]}`, Misconfigured,
			EgressDenied, "private.example"},
		{"the machine's metadata", `{"resource":"BASE/mcp","authorization_servers":["https://169.254.169.254/latest"]}`,
			Misconfigured, EgressDenied, "never"},
		{"a server as a number", `{"resource":"BASE/mcp","authorization_servers":["https://2852039166/"]}`, Misconfigured,
			EgressDenied, "never"},
		{"a homograph's server", `{"resource":"BASE/mcp","authorization_servers":["https://g` + "\u043e\u043e" +
			`gle.example"]}`, Transient, ServerUnreachable, "https://xn--ggle-55da.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "", nil)
			w.answers[hostileResource] = w.document(tt.text)
			_, err := w.discover(t, w.client())
			checkHostile(t, err, tt.kind, tt.code, tt.want)
		})
	}
}

// gzipped is a document of that many blanks after a brace.
func gzipped(blanks int) http.HandlerFunc {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("{"))
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range blanks / len(chunk) {
		_, _ = z.Write(chunk)
	}
	_ = z.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	}
}

// drip sends a byte now and then until nobody listens.
func drip(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "{")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for http.NewResponseController(w).Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_, _ = io.WriteString(w, " ")
		}
	}
}

func redirect(target string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{target}
		w.WriteHeader(http.StatusFound)
	}
}

// overTheWire are answers that are hostile below the document.
func overTheWire() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"a bomb": gzipped(16 << 20),
		"a broken gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "{hunter2")
		},
		"a slow drip": drip,
		"a length that lies": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"hunter2":`)
		},
		"a connection that closes": dropConnection,
		"a silence":                func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a header without an end": func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("hunter2", 200))
			}
		},
		"a status of nonsense": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) },
		"an answer that is not HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-hunter2\r\n")
				_ = conn.Close()
			}
		},
	}
}

// patience is short for answers that never end.
func patience(name string) func(*Options) {
	return func(o *Options) {
		o.Timeout = 30 * time.Second
		if name == "a slow drip" || name == "a silence" {
			o.Timeout = 3 * time.Second // enough for the way there on a busy machine
		}
	}
}

func TestHostileMetadataOverTheWire(t *testing.T) {
	for name, answer := range overTheWire() {
		for _, path := range []string{hostileResource, hostileServer} {
			t.Run(name+" at "+path, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, path, answer)
				_, err := w.discover(t, w.client(patience(name)))
				if strings.HasPrefix(name, "a bomb") {
					checkHostile(t, err, Misconfigured, InvalidMetadata, "larger than 1 MiB")
					return
				}
				checkHostile(t, err, Transient, ServerUnreachable, path)
			})
		}
	}
}

func TestHostileRedirects(t *testing.T) {
	for _, tt := range []hostile{
		{"to http", "http://as.example/x?hunter2", Misconfigured, InsecureURL, "redirects to http"},
		{"to a file", "file:///etc/passwd", Misconfigured, InvalidMetadata, "not an https URL"},
		{"to a script", "javascript:hunter2", Misconfigured, InvalidMetadata, "not an https URL"},
		{"to a password", "https://user:hunter2@as.example/", Misconfigured, InvalidMetadata, "user name"},
		{"to a fragment", "/x#hunter2", Misconfigured, InvalidMetadata, "fragment"},
		{"to nowhere", "", Misconfigured, InvalidMetadata, "Location"},
		{"to no URL", "https://%zz/hunter2", Misconfigured, InvalidMetadata, "Location"},
		{"to no host", "https:///x?hunter2", Misconfigured, InvalidMetadata, "no host"},
		{"to itself", hostileResource + "?hunter2", Misconfigured, InvalidMetadata, "more than 3 times"},
		{"to the inside", "https://private.example/?hunter2", Misconfigured, EgressDenied, "--egress-allow-cidrs"},
		{"to the machine's metadata", "https://169.254.169.254/latest", Misconfigured, EgressDenied, "never"},
		{"to the machine's metadata in IPv6", "https://[::ffff:a9fe:a9fe]/latest", Misconfigured, EgressDenied, "never"},
		{"to a disguised address", "https://0xa9fea9fe/latest", Misconfigured, EgressDenied, "never"},
		{"to a link without an end", "/" + strings.Repeat("x", maxURL), Misconfigured, InvalidMetadata, "8 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, hostileResource, redirect(tt.text))
			_, err := w.discover(t, w.client())
			if e := hostileError(t, err, tt.kind, tt.code, tt.want); w.count() > 2+maxRedirects {
				t.Errorf("%d requests, message %q", w.count(), e.Message)
			}
		})
	}
}

func TestHostileChallenges(t *testing.T) {
	for _, tt := range []hostile{
		{"by http", `Bearer resource_metadata="http://as.example/x?hunter2"`, Misconfigured, InsecureURL,
			"--allow-insecure-http"},
		{"with a password", `Bearer resource_metadata="https://user:hunter2@as.example/"`, Misconfigured, InvalidMetadata,
			"user name"},
		{"with a fragment", `Bearer resource_metadata="https://as.example/#hunter2"`, Misconfigured, InvalidMetadata,
			"fragment"},
		{"at the machine's metadata", `Bearer resource_metadata="https://[fd00:ec2::254]/"`, Misconfigured, EgressDenied,
			"never"},
		{"inside", `Bearer resource_metadata="https://private.example/"`, Misconfigured, EgressDenied, "private.example"},
		{"by another scheme of URLs", `Bearer resource_metadata="gopher://as.example/x?hunter2"`, Misconfigured,
			InvalidMetadata, "not an https URL"},
		{"without an end", `Bearer resource_metadata="https://as.example/` + strings.Repeat("x", maxURL) + `"`, Misconfigured,
			InvalidMetadata, "8 KiB"},
		{"at a port that is none", `Bearer resource_metadata="https://as.example:70000/"`, Misconfigured, InvalidMetadata,
			"port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "/mcp", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("WWW-Authenticate", tt.text)
				rw.WriteHeader(http.StatusUnauthorized)
			})
			_, err := w.discover(t, w.client())
			if checkHostile(t, err, tt.kind, tt.code, tt.want); w.count() != 1 {
				t.Errorf("%d requests", w.count())
			}
		})
	}
}

func TestWhatIsNoURLInAChallengeIsAbsent(t *testing.T) {
	for _, value := range []string{"javascript:hunter2", "file:///etc/passwd", "/relative", "https:as.example", "%zz",
		""} {
		w := newWorld(t, "/mcp", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+value+`"`)
			rw.WriteHeader(http.StatusUnauthorized)
		})
		if _, err := w.discover(t, w.client()); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestHugeListsAreCutAndCostLittle(t *testing.T) {
	w := newWorld(t, "", nil)
	scopes := strings.TrimSuffix(strings.Repeat(`"scope",`, 100000), ",")
	w.answers[hostileResource] = w.document(
		`{"resource":"BASE/mcp","authorization_servers":["BASE"],"scopes_supported":[` + scopes + `]}`)
	d, err := w.discover(t, w.client())
	if err != nil {
		t.Fatal(err)
	}
	if length := len(strings.Join(d.ResourceScopes, " ")); length == 0 || length > maxScopes {
		t.Errorf("%d bytes of scopes", length)
	}
	servers := strings.TrimSuffix(strings.Repeat(`"BASE/none",`, 10000), ",")
	w.answers[hostileResource] = w.document(`{"resource":"BASE/mcp","authorization_servers":[` + servers + `]}`)
	before := w.count()
	_, err = w.discover(t, w.client())
	checkHostile(t, err, Misconfigured, MetadataNotFound, "")
	if n := w.count() - before; n > 2+3*maxServers {
		t.Errorf("%d requests", n)
	}
}
