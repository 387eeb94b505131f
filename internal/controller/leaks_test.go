package controller

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	// mostVerbose is what --log-level=debug shows.
	mostVerbose = 1
	// everything is more than any code asks for. From 8 on client-go logs the bodies of its own requests, which no flag of
	// the operator can ask for (TestNoLogLevelShowsWhatClientGoSends); those lines are left out, and no others.
	everything = 100
)

// queryOfServer is what an author puts into serverURL: it is part of the resource that tokens are asked for.
const queryOfServer = "query of the server URL"

// captured is a log that forgets nothing.
type captured struct {
	mu        sync.Mutex
	lines     []string
	verbosity int
}

func (c *captured) logger() logr.Logger {
	o := funcr.Options{Verbosity: max(mostVerbose, c.verbosity)}
	return funcr.New(func(prefix, args string) {
		if strings.Contains(args, `"msg"="Request Body"`) || strings.Contains(args, `"msg"="Response Body"`) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines = append(c.lines, "log "+prefix+": "+args)
	}, o)
}

func (c *captured) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// witness sees what everybody may see of a connection, and knows what nobody may.
type witness struct {
	w *world
	// servers that are told secrets, and issue them.
	servers []*oauthtest.Server
	mu      sync.Mutex
	// seen are texts, each with the sink that it was seen in.
	seen []string
	// secrets by value; what each one is.
	secrets map[string]string
	// kinds of secrets that were met.
	kinds map[string]bool
}

// watch begins to look at a world, after every reconcile and at every page.
func watch(w *world, others ...*oauthtest.Server) *witness {
	x := &witness{w: w, servers: append(others, w.server), secrets: map[string]string{}, kinds: map[string]bool{}}
	w.after, w.log.verbosity = x.look, everything
	w.servePages()
	pages := w.handler
	w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		page := httptest.NewRecorder()
		pages.ServeHTTP(page, r)
		for name, values := range page.Header() {
			rw.Header()[name] = values
			if name != "Set-Cookie" { // it is that browser's
				x.sees("page", name+": "+strings.Join(values, " "))
			}
		}
		rw.WriteHeader(page.Code)
		x.sees("page", page.Body.String())
		_, _ = rw.Write(page.Body.Bytes()) // a browser that is gone needs no page
	})
	return x
}

func (x *witness) sees(sink, text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = append(x.seen, sink+": "+text)
}

func (x *witness) knows(what, value string) {
	value = strings.TrimSpace(value)
	if len(value) < 5 {
		return
	}
	x.secrets[value], x.kinds[what] = what, true
	if lines := strings.Split(value, "\n"); len(lines) > 2 { // PEM: each line of it
		for _, line := range lines[1 : len(lines)-1] {
			x.knows(what, line)
		}
	}
	if parts := strings.Split(value, "."); len(parts) == 3 && len(value) > 100 { // a JWT: its signature
		x.knows(what, parts[2])
	}
}

// look notes what object and events show now, and which secrets there are by now.
func (x *witness) look() {
	GinkgoHelper()
	for len(x.w.events.Events) > 0 {
		x.sees("event", <-x.w.events.Events)
	}
	for _, s := range x.servers {
		for _, g := range s.Grants() {
			x.knows("access token", g.AccessToken)
			x.knows("refresh token", g.RefreshToken)
		}
		for _, c := range s.Clients() {
			x.knows("client secret", c.Secret)
			x.knows("registration access token", c.RegistrationAccessToken)
		}
	}
	x.open()
	conn := x.w.get()
	if conn == nil {
		return
	}
	if link := conn.Status.AuthorizationURL; link != "" {
		x.knows("ticket", ticketOf(link))
		conn.Status.AuthorizationURL = ""
	}
	conn.Spec, conn.Status.Resource = v1alpha1.MCPConnectionSpec{}, "" // what its author wrote, serverURL among it
	object, err := json.Marshal(conn)
	x.w.must(err)
	x.sees("object", string(object))
}

// harmlessKeys are members of Secrets that are no secrets.
var harmlessKeys = []string{
	"client_id", "issuer", "key_id", "resource", v1alpha1.KeyServerURL, v1alpha1.KeyTokenType, v1alpha1.KeyScope,
	v1alpha1.KeyExpiresAt,
}

// secretMembers are members of what is stored that are secrets.
var secretMembers = []string{
	"access_token", "refresh_token", "client_secret", "registration_access_token", "code", "code_verifier", "state",
	"ticket", "dpop_jwk", "private_key", "d",
}

// open reads every Secret: those beside the connection, its credential, and the operator's own keys.
func (x *witness) open() {
	list := &corev1.SecretList{}
	x.w.must(api.List(x.w.ctx, list, client.InNamespace(x.w.key.Namespace)))
	for _, s := range list.Items {
		for key, value := range s.Data {
			if !slices.Contains(harmlessKeys, key) {
				x.knows(key, string(value))
			}
		}
	}
	keys := []client.ObjectKey{{Namespace: operatorNamespace, Name: credential.SigningKeySecret}}
	if conn := x.w.get(); conn != nil {
		keys = append(keys, credentialKey(conn.UID))
	}
	for _, key := range keys {
		s := &corev1.Secret{}
		if err := api.Get(x.w.ctx, key, s); err != nil {
			x.w.must(client.IgnoreNotFound(err))
			continue
		}
		metadata, err := json.Marshal(s.ObjectMeta)
		x.w.must(err)
		x.sees("metadata of a Secret", string(metadata))
		for _, value := range s.Data {
			x.walk("", value)
		}
	}
}

// walk knows the secrets in a JSON text.
func (x *witness) walk(name string, text []byte) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	var value string
	switch {
	case json.Unmarshal(text, &object) == nil:
		for name, member := range object {
			x.walk(name, member)
		}
	case json.Unmarshal(text, &list) == nil:
		for _, member := range list {
			x.walk(name, member)
		}
	case json.Unmarshal(text, &value) == nil && slices.Contains(secretMembers, name):
		x.knows(name, value)
		if name == "dpop_jwk" {
			x.walk("", []byte(value))
		}
	}
}

// requests notes the secrets of all that was sent to servers.
func (x *witness) requests() {
	for _, s := range x.servers {
		for _, r := range s.Requests() {
			if state := r.Query.Get("state"); state != "state" { // another tool's
				x.knows("state", state)
			}
			for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret", "token", "assertion",
				"client_assertion", "subject_token"} {
				x.knows(name, r.Form.Get(name))
			}
			scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			x.knows(scheme+" credentials", credentials)
			if decoded, err := base64.StdEncoding.DecodeString(credentials); err == nil && scheme == "Basic" {
				_, secret, _ := strings.Cut(string(decoded), ":")
				x.knows("encoded client secret", secret)
			}
		}
	}
}

// spellings are all forms of a secret that are looked for.
func spellings(secret string) []string {
	raw := []byte(secret)
	quoted, _ := json.Marshal(secret) // a string cannot fail to encode
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`), hex.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw),
	}
}

// leaks says which secrets are seen, without their values.
func (x *witness) leaks() []string {
	var found []string
	for value, what := range x.secrets {
		for _, form := range spellings(value) {
			for _, text := range x.seen {
				page := strings.HasPrefix(text, "page: ")
				redirect := strings.HasPrefix(text, "page: Location: ") && (what == "state" || what == queryOfServer)
				if !strings.Contains(text, form) || (page && what == "ticket") || redirect {
					continue
				}
				before, after, _ := strings.Cut(strings.ReplaceAll(text, form, "<secret>"), "<secret>")
				found = append(found, fmt.Sprintf("a %s in %.20s … %s<secret>%.200s", what, text, before[max(0, len(before)-200):],
					after))
			}
		}
	}
	return found
}

// testify fails for every secret that is seen, and if these were not there to be seen.
func (x *witness) testify(kinds ...string) {
	GinkgoHelper()
	x.look()
	x.requests()
	for _, line := range x.w.log.all() {
		x.sees("log", line)
	}
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		x.sees("metric", family.String())
	}
	for _, what := range kinds {
		Expect(x.kinds).To(HaveKey(what), "the kinds that were met")
	}
	for _, sink := range []string{"object: ", "event: ", "log: ", "page: ", "metric: "} {
		accounted := !x.kinds["ticket"] && (sink == "log: " || sink == "page: ") // only pages log each request
		seen := slices.ContainsFunc(x.seen, func(text string) bool { return strings.HasPrefix(text, sink) })
		Expect(accounted || seen).To(BeTrue(), "no %s was seen", sink)
	}
	Expect(x.leaks()).To(BeEmpty())
}

func TestAWitnessFindsWhatIsPlanted(t *testing.T) {
	for _, sink := range []string{"object", "event", "log", "metric", "page"} {
		for _, form := range spellings("s3+/x") {
			x := &witness{secrets: map[string]string{}, kinds: map[string]bool{}}
			x.knows("client secret", "s3+/x")
			x.sees(sink, "before "+form+" after")
			if len(x.leaks()) == 0 {
				t.Errorf("%s in %s is not found", form, sink)
			}
		}
	}
}
