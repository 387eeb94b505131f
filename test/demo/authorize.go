package main

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// consentPage works without JavaScript and without anything from elsewhere.
var consentPage = template.Must(template.New("consent").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo authorization server</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;background:#f4f5f7;color:#1c2430;margin:0}
main{max-width:30rem;margin:12vh auto;background:#fff;border:1px solid #d9dee5;border-radius:10px;padding:2rem}
h1{font-size:1.25rem;margin:0 0 1rem}code{word-break:break-all}
button{font:inherit;padding:.5rem 1.4rem;border-radius:6px;border:1px solid #9aa5b1;background:#fff;margin-right:.5rem}
button[value=approve]{background:#1a6b3c;border-color:#1a6b3c;color:#fff}
</style></head><body><main>
<h1>Demo authorization server</h1>
<p>You are signed in as <b>demo-user</b>.</p>
<p><b>{{.Name}}</b> asks to call the tools of <code>{{.Resource}}</code> for you (scope <code>{{.Scope}}</code>).</p>
<form method="post" action="/authorize">
<input type="hidden" name="request" value="{{.ID}}">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form></main></body></html>
`))

// authorize checks an authorization request and shows the consent page. A client or redirect URI that
// is not registered is answered here; every other error goes back to the client.
func (s *authServer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	client := s.clients[q.Get("client_id")]
	s.mu.Unlock()
	if client == nil || !slices.Contains(client.RedirectURIs, q.Get("redirect_uri")) {
		http.Error(w, "unknown client_id, or a redirect_uri that is not registered", http.StatusBadRequest)
		return
	}
	request := &authorizationRequest{
		client: client, redirectURI: q.Get("redirect_uri"), state: q.Get("state"),
		challenge: q.Get("code_challenge"), scope: q.Get("scope"),
	}
	if request.scope == "" {
		request.scope = demoScope
	}
	if code := s.refuse(q, request); code != "" {
		s.redirect(w, r, request, url.Values{"error": {code}})
		return
	}
	id := randomString()
	s.mu.Lock()
	s.pending[id] = request
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_ = consentPage.Execute(w, map[string]string{"Name": client.Name, "Resource": s.resource, "Scope": request.scope, "ID": id})
}

// refuse names the OAuth error of an authorization request, if there is one.
func (s *authServer) refuse(q url.Values, request *authorizationRequest) string {
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type"
	case q.Get("code_challenge_method") != "S256", len(request.challenge) != 43, request.state == "":
		return "invalid_request"
	case len(q["resource"]) != 1 || q.Get("resource") != s.resource:
		return "invalid_target"
	case request.scope != demoScope:
		return "invalid_scope"
	}
	return ""
}

// decide takes the answer to the consent page. Each page is answered once.
func (s *authServer) decide(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("request")
	s.mu.Lock()
	request := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if request == nil {
		http.Error(w, "this page has been answered already; go back to the start", http.StatusBadRequest)
		return
	}
	if r.PostFormValue("decision") != "approve" {
		s.redirect(w, r, request, url.Values{"error": {"access_denied"}})
		return
	}
	code := randomString()
	s.mu.Lock()
	s.codes[code] = &authorizationCode{request: request, expires: time.Now().Add(codeLifetime)}
	s.remember("authorization code", code)
	s.mu.Unlock()
	s.redirect(w, r, request, url.Values{"code": {code}})
}

// redirect answers the client, with its state and our issuer (RFC 9207).
func (s *authServer) redirect(w http.ResponseWriter, r *http.Request, request *authorizationRequest, answer url.Values) {
	target, err := url.Parse(request.redirectURI)
	if err != nil {
		http.Error(w, "the redirect_uri cannot be read", http.StatusBadRequest)
		return
	}
	query := target.Query()
	for key, values := range answer {
		query[key] = values
	}
	query.Set("state", request.state)
	query.Set("iss", s.issuer)
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}
