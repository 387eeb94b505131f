package consumers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mcp-connection/operator/test/harness"
)

// sidecarCaddyfile reads the environment.
const sidecarCaddyfile = "../../config/consumers/sidecar/Caddyfile"

// proxiedHost is the MCP server's host in these tests. Its address is that of a test server.
const proxiedHost = "mcp.example.com"

// startProxy starts Caddy with a Caddyfile, waits until it listens, and returns its URL. The caller ends it.
func startProxy(ctx context.Context, t *testing.T, caddyfile, server, dir string) (*harness.Process, string, error) {
	t.Helper()
	address, err := harness.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	var log bytes.Buffer
	proxy, err := harness.StartProcess(&log, "", []string{"MCP_SERVER=" + server, "MCP_HOST=" + proxiedHost,
		"MCP_TOKEN_DIR=" + dir, "MCP_PROXY_PORT=" + port},
		built("caddy"), "run", "--config", caddyfile, "--adapter", "caddyfile")
	if err != nil {
		return nil, "", err
	}
	err = wait.PollUntilContextTimeout(ctx, pause, patience, true, func(ctx context.Context) (bool, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return true, conn.Close()
	})
	if err != nil {
		proxy.Kill()
		return nil, "", errors.Join(err, errors.New(log.String()))
	}
	return proxy, "http://" + address, nil
}

// kagentCaddyfile is that of kagent's page, with the values of the test from the environment.
func kagentCaddyfile(t *testing.T) string {
	t.Helper()
	_, text, _ := strings.Cut(read(t, examples+"/kagent/through-the-proxy.yaml"), "  Caddyfile: |\n")
	text, _, found := strings.Cut(text, "---\n")
	if !found {
		t.Fatal("kagent's page has no Caddyfile")
	}
	text = strings.NewReplacer(":8090", ":{$MCP_PROXY_PORT}", "https://mcp.example.com", "{$MCP_SERVER}",
		"/var/run/mcp-token", "{$MCP_TOKEN_DIR}").Replace(text)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestTheProxyTellsTheServerNothingOfTheClient sends requests by several names of the proxy.
func TestTheProxyTellsTheServerNothingOfTheClient(t *testing.T) {
	build(t)
	const ok, misdirected = http.StatusOK, http.StatusMisdirectedRequest
	for about, test := range map[string]struct {
		caddyfile string
		statuses  map[string]int
	}{
		"the sidecar": {sidecarCaddyfile, map[string]int{"127.0.0.1": ok, "localhost": ok, "rebound.example": misdirected}},
		"kagent's proxy": {kagentCaddyfile(t), map[string]int{"files-proxy.team": ok, "localhost": misdirected,
			"rebound.example": misdirected}},
	} {
		t.Run(about, func(t *testing.T) { proxies(t, test.caddyfile, test.statuses) })
	}
}

// proxies checks what a proxy answers to each Host, and what the server gets of it.
func proxies(t *testing.T, caddyfile string, statuses map[string]int) {
	t.Helper()
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "authorization"), []byte("Bearer fresh"), 0o600))
	proxy, base, err := startProxy(t.Context(), t, caddyfile, server.URL, dir)
	must(t, err)
	defer proxy.Kill()
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	for host, status := range statuses {
		got = nil
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/mcp", strings.NewReader(listTools))
		must(t, err)
		request.Host = net.JoinHostPort(host, port)
		request.Header.Set("Authorization", "Bearer stale")
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		_ = response.Body.Close()
		if passed := got != nil; response.StatusCode != status || passed != (status == http.StatusOK) {
			t.Errorf("%s is answered by %s, and was passed on: %v", host, response.Status, passed)
		} else if passed {
			proxied(t, got)
		}
	}
}

// proxied checks a request that came through the proxy.
func proxied(t *testing.T, got *http.Request) {
	t.Helper()
	if got.Host != proxiedHost || got.Header.Get("Authorization") != "Bearer fresh" {
		t.Errorf("%s gets %s", got.Host, got.Header.Get("Authorization"))
	}
	for name := range got.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" {
			t.Errorf("the server gets %s: %s", name, got.Header.Get(name))
		}
	}
}
