package callback

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

var shownCode = regexp.MustCompile(`<pre><code>([^<]*)</code></pre>`)

// A command on a page names the connection and its namespace, so that it works as it is pasted.
func TestACommandOnAPageWorksWhenItIsPasted(t *testing.T) {
	const link = `kubectl get mcpc -n team-a files -o jsonpath='{.status.authorizationURL}{"\n"}'`
	for name, tt := range map[string]struct {
		visit func(*fixture) *httptest.ResponseRecorder
		want  string
	}{
		"a link that was replaced": {func(f *fixture) *httptest.ResponseRecorder {
			f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
			return f.browser().open()
		}, link},
		"a link that has expired": {func(f *fixture) *httptest.ResponseRecorder {
			f.now = f.now.Add(credential.TicketLifetime)
			return f.browser().do(http.MethodPost, "/connect/"+f.ticket, "")
		}, link},
		"a failure on a link that has ended": {func(f *fixture) *httptest.ResponseRecorder {
			b := f.browser()
			expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
			f.finish("TokenRequestRejected", "invalid_client")
			f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
			return b.open()
		}, link},
		"an answer from somewhere else": {func(f *fixture) *httptest.ResponseRecorder {
			b := f.browser()
			return b.answer(b.begin(), "iss", "https://evil.example", "code", "c")
		}, "kubectl describe mcpc -n team-a files"},
		"a person who may not consent": {func(f *fixture) *httptest.ResponseRecorder {
			behindProxy(&f.server.o, nil, nil)
			return f.person("mallory").do(http.MethodPost, "/connect/"+f.ticket, "")
		}, "kubectl create role authorize-files -n team-a --verb=authorize --resource=mcpconnections.mcp-connection.dev --resource-name=files"},
	} {
		t.Run(name, func(t *testing.T) {
			w := tt.visit(newFixture(t))
			found := shownCode.FindStringSubmatch(w.Body.String())
			if found == nil {
				t.Fatalf("the page shows no command:\n%s", w.Body)
			}
			if got := html.UnescapeString(found[1]); got != tt.want {
				t.Errorf("the page shows %q, want %q", got, tt.want)
			}
		})
	}
}

// A ticket that nobody issued names no connection.
func TestAGuessedTicketIsShownNoCommand(t *testing.T) {
	f := newFixture(t)
	w := f.browser().get("/connect/" + credential.NewTicket(connectionUID))
	expect(f, w, http.StatusNotFound)
	if strings.Contains(w.Body.String(), "team-a") || shownCode.MatchString(w.Body.String()) {
		t.Errorf("the page tells of a connection:\n%s", w.Body)
	}
}

// The connection of a link that was replaced before it was deleted has no current link to show.
func TestAReplacedLinkOfADeletedConnectionShowsNoCommand(t *testing.T) {
	f := newFixture(t)
	f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
	f.must(f.client.Delete(t.Context(), connection(f)))
	w := f.browser().open()
	expect(f, w, http.StatusGone, "The connection was deleted")
	if shownCode.MatchString(w.Body.String()) {
		t.Error("a command for a connection that is gone")
	}
}
