package callback

import (
	"bufio"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/mcp-connection/operator/internal/credential"
)

// statuses that the pages answer with.
var statuses = []int{
	http.StatusOK, http.StatusSeeOther, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound,
	http.StatusMethodNotAllowed,
	http.StatusConflict, http.StatusGone, http.StatusRequestURITooLong, http.StatusTooManyRequests,
	http.StatusServiceUnavailable,
}

// FuzzServeHTTP sends any bytes that net/http takes for a request, from a browser with a sign-in under way, with and
// without an authenticating proxy. {ticket}, {state}, {alice} and the like stand for the real values, as in the abuses.
func FuzzServeHTTP(f *testing.F) {
	for _, abuses := range []map[string]abuse{startAbuses, callbackAbuses} {
		for _, name := range slices.Sorted(maps.Keys(abuses)) {
			if len(abuses[name].send) < maxQuery {
				f.Add(abuses[name].send, false)
			}
		}
	}
	f.Add("POST /connect/{ticket}\nContent-Length: 0", false)
	f.Add("GET /oauth/callback?state={state}&{ok}\n{alice}", false)
	f.Add("GET /oauth/callback?state={state}&error=access_denied&error_description=no&iss="+issuer+"\n{alice}", false)
	f.Add("GET /oauth/callback?state={state}&code=x&iss=https://other.example\n{alice}", false)
	f.Add("POST /connect/{ticket}\nX-Forwarded-User: alice\nX-Forwarded-For: 203.0.113.1, [::1]:2\nContent-Length: 0",
		true)
	f.Add("GET /connect/{ticket}\nX-Forwarded-User: mallory\n{mallory}", true)
	s := newSiege(newFake(f))
	s.server.perAddress, s.server.perConnection = newLimits(rate.Inf, 1), newLimits(rate.Inf, 1)
	s.server.unknown = rate.NewLimiter(rate.Inf, 1)
	s.allowed = []string{"alice"}
	signIns := s.secret().Data
	f.Fuzz(func(t *testing.T, send string, proxied bool) {
		s.TB, s.server.o.UserHeader = t, ""
		s.logs.Reset()
		s.audits.Reset()
		from := "192.0.2.77:1"
		if proxied {
			behindProxy(&s.server.o, nil)
			from = "198.51.100.7:1"
		}
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(s.fill(send))))
		if err != nil {
			return // net/http does not hand it over
		}
		request.RemoteAddr = from
		before, written := s.credential(), s.resourceVersion()
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, request.WithContext(t.Context()))
		s.checkFuzzed(w, send)
		if s.resourceVersion() == written {
			return
		}
		s.checkWritten(w, before, s.credential(), strings.Contains(send, "{alice}") || strings.Contains(send, "{value}") ||
			strings.Contains(send, "{mallory}"))
		s.editSecret(func(_, _ map[string]string, data map[string][]byte) { maps.Copy(data, signIns) })
	})
}

func (s *siege) checkFuzzed(w *httptest.ResponseRecorder, send string) {
	s.Helper()
	if !slices.Contains(statuses, w.Code) {
		s.Errorf("status %d", w.Code)
	}
	h := w.Header()
	if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") ||
		h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
		s.Errorf("headers %v", h)
	}
	location := h.Get("Location")
	switch {
	case (location != "") != (w.Code == http.StatusSeeOther):
		s.Errorf("status %d, Location %q", w.Code, location)
	case location != "" && location != "/connect/"+s.ticket && !strings.HasPrefix(location, issuer+"/authorize?"):
		s.Errorf("an open redirect to %q", location)
	}
	// What the visitor wrote is nowhere on the page; a word of our own may be the same by chance.
	for _, word := range strings.FieldsFunc(send, func(r rune) bool { return strings.ContainsRune(" \n\r?&=/:;,", r) }) {
		if len(word) > 12 && strings.ContainsAny(word, `<>"'`) && strings.Contains(w.Body.String(), word) {
			s.Errorf("%q is repeated", word)
		}
	}
	for _, text := range []string{s.logs.String(), s.audits.String()} {
		for _, secret := range []string{s.ticket, s.state, s.other, s.alice.cookie.Value, s.mallory.cookie.Value} {
			if strings.Contains(text, secret) {
				s.Errorf("a secret in a log:\n%s", text)
			}
		}
	}
}

// checkWritten allows two kinds of change: one more request after a POST, or one response to a request of this browser.
func (s *siege) checkWritten(w *httptest.ResponseRecorder, before, after *credential.Held, cookie bool) {
	s.Helper()
	was, is := before.Authorization, after.Authorization
	begun := is.Response == nil && len(is.Requests) == len(was.Requests)+1 && strings.HasPrefix(w.Header().Get("Location"),
		issuer)
	recorded := cookie && is.Response != nil && is.Revision == was.Revision+1 && len(is.Requests) < len(was.Requests) &&
		is.Response.ReceivedAt.Equal(s.now)
	if !begun && !recorded {
		s.Errorf("status %d, and what is stored changed from %d requests to %d, response %v", w.Code, len(was.Requests),
			len(is.Requests), is.Response != nil)
	}
	if recorded && (is.Response.Code != "") != (w.Header().Get("Location") == "/connect/"+s.ticket &&
		is.Response.Reason == "") {
		s.Errorf("status %d for a response with reason %q", w.Code, is.Response.Reason)
	}
	if is.Offer == nil || is.Offer.Ticket != s.ticket || len(after.Grants) != 0 {
		s.Error("more was changed than pages may change")
	}
}
