package controller

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// mostVerbose is what --log-level=debug shows. Beyond it, client-go logs the bodies of its own requests.
const mostVerbose = 1

// captured is a log that forgets nothing.
type captured struct {
	mu    sync.Mutex
	lines []string
}

func (c *captured) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines = append(c.lines, "log "+prefix+": "+args)
	}, funcr.Options{Verbosity: mostVerbose})
}

func (c *captured) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// witness sees what everybody may see of a connection, and knows what nobody may.
type witness struct {
	w *world
	// seen are status, events and log lines.
	seen []string
	// secrets by value; what each one is.
	secrets map[string]string
}

func newWitness(w *world) *witness { return &witness{w: w, secrets: map[string]string{}} }

func (x *witness) knows(what, value string) {
	if value != "" {
		x.secrets[value] = what
	}
}

// look notes what status and events show now, and which tokens the server has given.
func (x *witness) look() {
	x.w.t.Helper()
	for len(x.w.events.Events) > 0 {
		x.seen = append(x.seen, "event: "+<-x.w.events.Events)
	}
	for _, g := range x.w.server.Grants() {
		x.knows("access token", g.AccessToken)
		x.knows("refresh token", g.RefreshToken)
	}
	for _, c := range x.w.server.Clients() {
		x.knows("client secret", c.Secret)
		x.knows("registration access token", c.RegistrationAccessToken)
	}
	conn := x.w.get()
	if conn == nil {
		return
	}
	if link := conn.Status.AuthorizationURL; link != "" {
		x.knows("ticket", ticketOf(link))
		conn.Status.AuthorizationURL = ""
	}
	status, err := json.Marshal(conn.Status)
	x.w.must(err)
	x.seen = append(x.seen, "status: "+string(status))
}

// requests notes the secrets of all that was sent to the server.
func (x *witness) requests() {
	for _, r := range x.w.server.Requests() {
		x.knows("state", r.Query.Get("state"))
		for name, what := range map[string]string{"code": "code", "code_verifier": "verifier", "refresh_token": "refresh token", "client_secret": "client secret", "token": "token"} {
			x.knows(what, r.Form.Get(name))
		}
		if pair, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok {
			x.knows("basic credentials", pair)
			decoded, err := base64.StdEncoding.DecodeString(pair)
			x.w.must(err)
			_, secret, _ := strings.Cut(string(decoded), ":")
			x.knows("encoded client secret", secret)
		}
	}
}

// leaks says which secrets are seen, without their values.
func (x *witness) leaks() []string {
	var found []string
	for _, text := range x.seen {
		for value, what := range x.secrets {
			if strings.Contains(text, value) {
				found = append(found, fmt.Sprintf("a %s in %s", what, strings.ReplaceAll(text, value, "<secret>")))
			}
		}
	}
	return found
}

// refuses has the token endpoint refuse the next request in words that repeat it, as some servers do.
func (w *world) refuses(oauthError string, words func(*http.Request) string) {
	w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		text, err := json.Marshal(map[string]string{"error": oauthError, "error_description": words(r)})
		if err == nil {
			_, _ = rw.Write(text) // the client has all it wants
		}
	})
}

// deniesWithState has the authorization endpoint refuse the next request in words that repeat its state.
func (w *world) deniesWithState() {
	w.server.HandleTimes(oauthtest.AuthorizePath, 1, func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back := url.Values{"error": {"access_denied"}, "error_description": {"no, not for " + q.Get("state")}, "state": {q.Get("state")}, "iss": {w.server.Issuer()}}
		http.Redirect(rw, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
}

// live takes a connection from its first link to its deletion, through refusals that repeat what they were sent.
func (x *witness) live() {
	w := x.w
	then := func(condition string, status bool, reason string) {
		w.t.Helper()
		want := isFalse
		if status {
			want = isTrue
		}
		w.want(condition, want, reason)
		x.look()
	}
	then(ready, false, v1alpha1.ReasonConsentRequired)
	w.deniesWithState()
	w.consent()
	then(authorized, false, v1alpha1.ReasonAccessDenied)
	w.refuses("invalid_grant", func(r *http.Request) string {
		return "code " + r.FormValue("code") + ", verifier " + r.FormValue("code_verifier") + " do not fit"
	})
	w.consent()
	then(authorized, false, v1alpha1.ReasonCodeRejected)
	w.consent()
	then(ready, true, v1alpha1.ReasonSucceeded)
	for range 2 {
		w.untilRefresh()
		w.reconcile()
		then(ready, true, v1alpha1.ReasonSucceeded)
	}
	w.untilRefresh()
	w.refuses("invalid_client", func(r *http.Request) string { return "Authorization: " + r.Header.Get("Authorization") })
	w.reconcile()
	then(ready, true, v1alpha1.ReasonRefreshFailing)
	w.untilRetry()
	w.refuses("invalid_grant", func(r *http.Request) string { return "token=" + r.FormValue("refresh_token") + " was revoked" })
	w.reconcile()
	then(authorized, false, v1alpha1.ReasonRefreshRejected)
	w.consent()
	then(ready, true, v1alpha1.ReasonSucceeded)
	w.annotate(v1alpha1.AnnotationRevoke, "now")
	then(ready, false, v1alpha1.ReasonConsentRequired)
	w.consent()
	then(ready, true, v1alpha1.ReasonSucceeded)
	w.server.Handle(oauthtest.RevokePath, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		text, err := json.Marshal(map[string]string{"error": "invalid_request", "error_description": r.Header.Get("Authorization") + " " + r.FormValue("token")})
		if err == nil {
			_, _ = rw.Write(text) // the client has all it wants
		}
	})
	w.must(api.Delete(w.t.Context(), w.get()))
	if w.reconcile() != nil {
		w.t.Fatal("the object is still there")
	}
	x.look()
}

func TestAWholeLifeShowsNoSecret(t *testing.T) {
	for name, secret := range map[string]string{
		"a short client secret": "s3+/x", // its Basic credentials are too short to look like a token
		"a long client secret":  secondSecret,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *oauthtest.Config) { c.AuthMethods = []string{"client_secret_basic"} })
			w.registerByHand(secret, "client_secret_basic")
			w.keepCredentials(secret)
			w.apply(w.preregistered)
			x := newWitness(w)
			x.live()
			x.requests()
			x.seen = append(x.seen, w.log.all()...)
			kinds := map[string]bool{}
			for _, what := range x.secrets {
				kinds[what] = true
			}
			for _, what := range []string{"state", "code", "verifier", "access token", "refresh token", "client secret", "basic credentials", "encoded client secret", "ticket"} {
				if !kinds[what] {
					t.Errorf("no %s was met", what)
				}
			}
			for _, what := range []string{"status: ", "event: ", "log "} {
				if !slices.ContainsFunc(x.seen, func(text string) bool { return strings.HasPrefix(text, what) }) {
					t.Errorf("no %s was seen", what)
				}
			}
			for _, leak := range x.leaks() {
				t.Error(leak)
			}
		})
	}
}
