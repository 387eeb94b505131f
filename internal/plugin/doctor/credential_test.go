package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const planted = "planted-secret-0123456789"

// TestNoRequestCarriesACredential looks at every request of every case, on a machine that has credentials lying about.
func TestNoRequestCarriesACredential(t *testing.T) {
	proxied := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied++ }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://user:"+planted+"@"+strings.TrimPrefix(proxy.URL, "http://"))
	}
	for _, tt := range serverCases {
		t.Run(tt.name, func(t *testing.T) {
			server := oauthtest.New(t, func(c *oauthtest.Config) {
				if tt.config != nil {
					tt.config(c)
				}
			})
			if tt.server != nil {
				tt.server(server)
			}
			x := &Examination{Spec: v1alpha1.MCPConnectionSpec{ServerURL: server.MCPURL(),
				ImportSecretRef: &v1alpha1.SecretReference{Name: planted}}, Rules: loopback(), Now: time.Now}
			if tt.rules != nil {
				tt.rules(&x.Rules, server)
			}
			examined(t, x)
			for _, r := range server.Requests() {
				for _, header := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Dpop", "Referer"} {
					if r.Header.Get(header) != "" {
						t.Errorf("%s %s carries %s", r.Method, r.Path, header)
					}
				}
				switch {
				case r.Method == http.MethodGet && r.Body == "":
				case r.Method == http.MethodPost && r.Path == oauthtest.MCPPath &&
					r.Body == `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`:
				default:
					t.Errorf("%s %s is no request of a discovery; its body is %q", r.Method, r.Path, r.Body)
				}
			}
			if len(server.Clients()) > 0 {
				t.Error("a client was registered")
			}
		})
	}
	if proxied > 0 {
		t.Errorf("%d requests went to the proxy of the environment", proxied)
	}
}

func TestReportShowsNoQueryOfTheServerURL(t *testing.T) {
	server := oauthtest.New(t)
	_, text := examined(t, &Examination{Spec: v1alpha1.MCPConnectionSpec{ServerURL: server.MCPURL() + "?key=" + planted},
		Rules: loopback()})
	if strings.Contains(text, planted) {
		t.Errorf("the report shows the query:\n%s", text)
	}
}
