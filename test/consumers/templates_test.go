package consumers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // likewise
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// mcpServer is a server in the configuration of a client, and in LangChain's connections.
type mcpServer struct {
	Type          string            `json:"type,omitempty"`
	Transport     string            `json:"transport,omitempty"`
	URL           string            `json:"url"`
	Headers       map[string]string `json:"headers,omitempty"`
	HeadersHelper string            `json:"headersHelper,omitempty"`
}

// TestTemplatesRenderToWhatClientsRead renders the templates of the examples by a live operator, with a real token.
func TestTemplatesRenderToWhatClientsRead(t *testing.T) {
	w := theWorld(t)
	rendered := func(example, key string) (text, authorization string) {
		t.Helper()
		conn := w.connect(t, examples+"/"+example+"/connection.yaml", example)
		secret, err := w.plane.TokenSecret(t.Context(), conn)
		must(t, err)
		if secret[key] == "" || secret[v1alpha1.KeyAuthorization] == "" {
			t.Fatalf("%s has no key %s", example, key)
		}
		return secret[key], secret[v1alpha1.KeyAuthorization]
	}
	check := func(example string, got mcpServer, want mcpServer) {
		t.Helper()
		if asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%s has %+v, not %+v", example, got, want)
		}
	}

	text, authorization := rendered("cursor", "mcp.json")
	check("cursor", strictly[map[string]map[string]mcpServer](t, text)["mcpServers"]["files"],
		mcpServer{URL: w.server.URL, Headers: header(authorization)})
	text, authorization = rendered("vs-code", "mcp.json")
	check("vs-code", strictly[map[string]map[string]mcpServer](t, text)["servers"]["files"],
		mcpServer{Type: "http", URL: w.server.URL, Headers: header(authorization)})
	text, authorization = rendered("langchain", "connections.json")
	check("langchain", strictly[map[string]mcpServer](t, text)["files"],
		mcpServer{Transport: "streamable_http", URL: w.server.URL, Headers: header(authorization)})
	text, _ = rendered("claude-code", "mcp.json")
	check("claude-code", strictly[map[string]map[string]mcpServer](t, text)["mcpServers"]["files"],
		mcpServer{Type: "http", URL: w.server.URL, HeadersHelper: "cat /var/run/mcp/files/headers.json"})

	text, authorization = rendered("envoy", "sds.yaml")
	sds := &discoveryv3.DiscoveryResponse{}
	strictProto(t, text, sds)
	secret := &tlsv3.Secret{}
	must(t, sds.GetResources()[0].UnmarshalTo(secret))
	if secret.GetName() != "files-token" || secret.GetGenericSecret().GetSecret().GetInlineString() != authorization {
		t.Errorf("Envoy would read the secret %s", secret.GetName())
	}
}

// TestCurlReadsWhatTheTemplateWrites: the server's URL has characters that JSON in HTML would escape, which curl would
// not read.
func TestCurlReadsWhatTheTemplateWrites(t *testing.T) {
	w := theWorld(t)
	const query = "a=1&b=<2>"
	conn := w.connectTo(t, w.server.URL+"?"+query, examples+"/curl/connection.yaml", "curl")
	dir, _ := w.mount(t, conn.Status.Token.SecretName)
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer server.Close()
	must(t, child(t.Context(), t, os.Environ(), "curl", "--fail", "--silent", "--show-error", "--config",
		filepath.Join(dir, "curlrc"),
		"--connect-to", "::"+server.Listener.Addr().String(), "--json", listTools))
	if got.URL.RawQuery != query || got.Header.Get("Authorization") != read(t, filepath.Join(dir, "authorization")) {
		t.Errorf("curl sends %s", got.URL)
	}
}

// TestTheHeadersHelpersFileIsAnObjectOfHeaders: Claude Code's helper prints it.
func TestTheHeadersHelpersFileIsAnObjectOfHeaders(t *testing.T) {
	w := theWorld(t)
	conn := w.connect(t, examples+"/claude-code/connection.yaml", "helper")
	secret, err := w.plane.TokenSecret(t.Context(), conn)
	must(t, err)
	if got := strictly[map[string]string](t, secret["headers.json"]); asJSON(t, got) != asJSON(t,
		header(secret[v1alpha1.KeyAuthorization])) {
		t.Errorf("the helper prints %v", got)
	}
}

// TestEnvoysFiltersAreOfEnvoysSchema: the secret has the name that the filter looks for, in the file that it watches.
func TestEnvoysFiltersAreOfEnvoysSchema(t *testing.T) {
	manager := &hcmv3.HttpConnectionManager{}
	strictProto(t, read(t, examples+"/envoy/filters.yaml"), manager)
	injector, credential := &injectorv3.CredentialInjector{}, &genericv3.Generic{}
	must(t, manager.GetHttpFilters()[0].GetTypedConfig().UnmarshalTo(injector))
	must(t, injector.GetCredential().GetTypedConfig().UnmarshalTo(credential))
	source := credential.GetCredential().GetSdsConfig().GetPathConfigSource()
	if !injector.GetOverwrite() || credential.GetHeader() != "Authorization" ||
		credential.GetCredential().GetName() != "files-token" ||
		!strings.HasSuffix(source.GetPath(), "/sds.yaml") ||
		!strings.HasPrefix(source.GetPath(), source.GetWatchedDirectory().GetPath()+"/") {
		t.Errorf("the filter is %v", credential)
	}
	for _, message := range []interface{ ValidateAll() error }{injector, credential, manager.GetHttpFilters()[0]} {
		must(t, message.ValidateAll())
	}
}

// strictProto reads YAML as Envoy does, and knows every field.
func strictProto(t *testing.T, text string, into proto.Message) {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	must(t, err)
	must(t, protojson.Unmarshal(asJSON, into))
}

func strictly[T any](t *testing.T, text string) (out T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	must(t, decoder.Decode(&out))
	return out
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	return string(text)
}

func header(authorization string) map[string]string {
	return map[string]string{"Authorization": authorization}
}
