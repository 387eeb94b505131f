package controller

import (
	"encoding/json"
	"net/http"
	"net/url"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// repeats has a server refuse requests to a path in words that repeat all that they hold, as it was sent and decoded.
func repeats(s *oauthtest.Server, path string, times, status int, oauthError string) {
	s.HandleTimes(path, times, func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what cannot be parsed is not repeated
		said := r.Header.Get("Authorization")
		for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret", "token", "assertion",
			"client_assertion", "subject_token"} {
			if value := r.Form.Get(name); value != "" {
				said += " " + value + " " + url.QueryEscape(value)
			}
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+said+`", scope="`+said+`"`)
		rw.WriteHeader(status)
		text, err := json.Marshal(map[string]string{"error": oauthError, "error_description": said,
			"error_uri": "https://e.example/?" + url.QueryEscape(said)})
		if err == nil {
			_, _ = rw.Write(text) // the client has all it wants
		}
	})
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
		back := url.Values{"error": {"access_denied"}, "error_description": {"no, not for " + q.Get("state")},
			"state": {q.Get("state")}, "iss": {w.server.Issuer()}}
		http.Redirect(rw, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
}

// live takes a connection from its first link to its deletion, through refusals that repeat what they were sent.
func (w *world) live() {
	then := func(condition string, status bool, reason string) {
		GinkgoHelper()
		want := isFalse
		if status {
			want = isTrue
		}
		w.want(condition, want, reason)
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
	w.refuses("invalid_grant", func(r *http.Request) string {
		return "token=" + r.FormValue("refresh_token") + " was revoked"
	})
	w.reconcile()
	then(authorized, false, v1alpha1.ReasonRefreshRejected)
	w.consent()
	then(ready, true, v1alpha1.ReasonSucceeded)
	w.annotate(v1alpha1.AnnotationRevoke, "now")
	then(ready, false, v1alpha1.ReasonConsentRequired)
	w.consent()
	then(ready, true, v1alpha1.ReasonSucceeded)
	repeats(w.server, oauthtest.RevokePath, -1, http.StatusBadRequest, "invalid_request")
	w.must(api.Delete(w.ctx, w.get()))
	w.reconcile()
	Expect(w.gone()).To(BeTrue(), "the object is still there")
}
