package consumers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// refreshes that every consumer is led through.
const refreshes = 3

// pause between two requests of a consumer.
const pause = 200 * time.Millisecond

// python is the interpreter that has Debian's python3-httpx.
const python = "/usr/bin/python3"

// listTools is what the simplest clients send.
const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// front is the MCP server as one consumer sees it, and counts.
type front struct {
	*httptest.Server

	mu                        sync.Mutex
	requests, refused, failed int
	tokens                    map[string]bool
}

func (w *world) front(t *testing.T) *front {
	t.Helper()
	target, err := url.Parse(w.server.URL)
	must(t, err)
	f := &front{tokens: map[string]bool{}}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{}, // the default one's connections are everybody's
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) },
		ModifyResponse: func(r *http.Response) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.requests++
			f.tokens[r.Request.Header.Get("Authorization")] = true
			switch {
			case r.StatusCode == http.StatusUnauthorized:
				f.refused++
			case r.Request.Method == http.MethodGet &&
				r.StatusCode == http.StatusMethodNotAllowed: // the server has no stream of its own
			case r.StatusCode >= http.StatusMultipleChoices:
				f.failed++
			}
			return nil
		},
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// An answer may begin before the end of the request was seen. Without full duplex net/http closes the request's body
		// then, and with it the connection that the answer comes from.
		if err := http.NewResponseController(rw).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

// endpoint is the URL of the MCP server behind it.
func (f *front) endpoint() string { return f.URL + "/mcp" }

func (f *front) counts() (requests, tokens, refused, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests, len(f.tokens), f.refused, f.failed
}

// consumer runs until the context ends. It is given its server and the mounted directory.
type consumer struct {
	run func(ctx context.Context, t *testing.T, f *front, dir string) error
	// goesStale says that it reads the token once, and is told apart by that.
	goesStale bool
}

var consumers = map[string]consumer{
	"Go, the file per request": {run: program("go", false)},
	"Go, fsnotify":             {run: program("go", true)},
	"Python, httpx":            {run: script(python, "python/client.py", pause.Seconds())},
	"TypeScript SDK, fetch": {run: script("node", "typescript/client.mjs",
		float64(pause.Milliseconds()))},
	"curl --config":                           {run: curl},
	"a header that is read once":              {run: once(false), goesStale: true},
	"a header that is read once, and a proxy": {run: once(true)},
}

// TestConsumersFollowEveryRefresh prints the counters of each consumer.
func TestConsumersFollowEveryRefresh(t *testing.T) {
	w := theWorld(t)
	build(t)
	conn := w.connect(t, examples+"/curl/connection.yaml", "followed")
	dir, versions := w.mount(t, conn.Status.Token.SecretName)
	first := versions()
	ctx, cancel := context.WithCancel(t.Context())
	fronts := map[string]*front{}
	var running sync.WaitGroup
	for name, c := range consumers {
		f := w.front(t)
		fronts[name] = f
		running.Go(func() {
			if err := c.run(ctx, t, f, dir); err != nil && ctx.Err() == nil {
				t.Errorf("%s ended: %v", name, err)
			}
		})
	}
	err := wait.PollUntilContextTimeout(ctx, pause, 2*patience, true, func(context.Context) (bool, error) {
		done := versions()-first >= refreshes && !t.Failed()
		for name, f := range fronts {
			_, tokens, refused, _ := f.counts()
			done = done && (tokens > refreshes || consumers[name].goesStale && refused > 0)
		}
		return done || t.Failed(), nil
	})
	if err != nil {
		t.Errorf("%d refreshes were not seen by all: %v", refreshes, err)
	}
	cancel()
	running.Wait()
	var table bytes.Buffer
	fmt.Fprintf(&table, "%-42s %8s %8s %8s %8s\n", "consumer", "requests", "tokens", "refused", "failed")
	for _, name := range slices.Sorted(maps.Keys(fronts)) {
		requests, tokens, refused, failed := fronts[name].counts()
		fmt.Fprintf(&table, "%-42s %8d %8d %8d %8d\n", name, requests, tokens, refused, failed)
		if stale := refused > 0; stale != consumers[name].goesStale || failed > 0 {
			t.Errorf("%s was refused %d times, and failed otherwise %d times", name, refused, failed)
		}
	}
	t.Logf("over %d refreshes of tokens that live for %s\n%s", versions()-first, lifetime, table.String())
}

// program runs the Go example.
func program(name string, watch bool) func(context.Context, *testing.T, *front, string) error {
	return func(ctx context.Context, t *testing.T, f *front, dir string) error {
		env := environment(f, dir, pause.String())
		if watch {
			env = append(env, "WATCH=1")
		}
		return child(ctx, t, env, built(name))
	}
}

// script runs an example that is interpreted.
func script(interpreter, file string, interval float64) func(context.Context, *testing.T, *front, string) error {
	return func(ctx context.Context, t *testing.T, f *front, dir string) error {
		return child(ctx, t, environment(f, dir, fmt.Sprint(interval)), interpreter, filepath.Join(examples, file))
	}
}

// environment is that of the examples' Deployments.
func environment(f *front, dir, interval string) []string {
	return append(os.Environ(), "MCP_SERVER_URL="+f.endpoint(), "MCP_TOKEN_DIR="+dir, "INTERVAL="+interval)
}

// child runs a program until the context ends.
func child(ctx context.Context, t *testing.T, env []string, program string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// curl starts anew for each request. Its configuration names the server itself, so the front's URL comes after it.
func curl(ctx context.Context, t *testing.T, f *front, dir string) error {
	for ticks := time.Tick(pause); ctx.Err() == nil; <-ticks {
		err := child(ctx, t, os.Environ(), "curl", "--fail", "--silent", "--show-error", "--config",
			filepath.Join(dir, "curlrc"), "--connect-to", "::"+f.Listener.Addr().String(), "--json", listTools)
		if err != nil {
			return err
		}
	}
	return nil
}

// once is a client that reads the header when it starts, and sends it for ever: to the server, or to the proxy of the
// sidecar.
func once(proxied bool) func(context.Context, *testing.T, *front, string) error {
	return func(ctx context.Context, t *testing.T, f *front, dir string) error {
		header, err := os.ReadFile(filepath.Join(dir, "authorization"))
		if err != nil {
			return err
		}
		endpoint := f.endpoint()
		if proxied {
			proxy, base, err := startProxy(ctx, t, sidecarCaddyfile, f.URL, dir)
			if err != nil {
				return err
			}
			defer proxy.Kill()
			endpoint = base + "/mcp"
		}
		for ticks := time.Tick(pause); ctx.Err() == nil; <-ticks {
			post(ctx, endpoint, string(header))
		}
		return nil
	}
}

// post does not mind what is answered: the front counts.
func post(ctx context.Context, endpoint, authorization string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(listTools))
	if err != nil {
		panic(err)
	}
	request.Header = http.Header{"Authorization": {authorization}, "Content-Type": {"application/json"},
		"Accept": {"application/json, text/event-stream"}}
	if response, err := http.DefaultClient.Do(request); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}
