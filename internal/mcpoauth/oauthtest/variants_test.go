package oauthtest

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestConsentPageAsksAPerson(t *testing.T) {
	s := newWithClient(t, func(c *Config) {
		c.ConsentPage = func(w http.ResponseWriter, client Client, request url.Values) {
			_, _ = fmt.Fprint(w, client.ID, request.Get("resource"))
		}
	})
	page := func(change func(url.Values)) string {
		q := authorization(s)
		change(q)
		return s.URL + AuthorizePath + "?" + q.Encode()
	}
	inOrder := page(func(url.Values) {})
	resp, err := s.HTTPClient().Get(inOrder)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if back, err := s.Approve(page(func(q url.Values) { q.Del("state") })); err != nil ||
		back.Query().Get("error") != "invalid_request" {
		t.Errorf("a request that is not in order is answered with %v, %v", back, err)
	}
	for decision, want := range map[string]string{"approve": "", "deny": "access_denied", "": "access_denied"} {
		resp, err := s.HTTPClient().PostForm(inOrder, url.Values{"decision": {decision}})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		back, err := resp.Location()
		if err != nil || back.Query().Get("error") != want || back.Query().Has("code") != (want == "") ||
			back.Query().Get("iss") != s.Issuer() {
			t.Errorf("the decision %q leads to %v, %v", decision, back, err)
		}
	}
}

func TestEachPathIsAnMCPServerOfItsOwn(t *testing.T) {
	s := newWithClient(t, func(c *Config) { c.EachPath, c.Stateless = true, true })
	q := authorization(s)
	q.Set("resource", s.MCPURLOf(1))
	back, err := s.Approve(s.URL + AuthorizePath + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	form := codeForm(s, back.Query().Get("code"))
	form.Set("resource", s.MCPURLOf(1))
	_, answer := postToken(t, s, form)
	if got := s.Grants()[0].Number(); got != 1 {
		t.Errorf("the grant is for number %d", got)
	}
	client := mcpoauth.NewClient(mcpoauth.Options{Now: time.Now, AllowInsecureHTTP: true,
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	probe := func(i int) (*mcpoauth.ServerInfo, error) {
		return client.For(s.MCPURLOf(i)).ProbeServer(t.Context(), mcpoauth.ServerProbe{ServerURL: s.MCPURLOf(i),
			AccessToken: answer["access_token"].(string)})
	}
	if info, err := probe(1); err != nil || info.Tools != 1 || info.ProtocolVersion != "2026-07-28" {
		t.Errorf("its own server is %+v, %v", info, err)
	}
	if _, err := probe(2); mcpoauth.AsError(err) == nil || mcpoauth.AsError(err).Code != mcpoauth.ProbeUnauthorized {
		t.Errorf("another server answers with %v", err)
	}
	found, err := client.For(s.MCPURLOf(2)).Discover(t.Context(), mcpoauth.DiscoveryRequest{ServerURL: s.MCPURLOf(2)})
	if err != nil || found.Resource != s.MCPURLOf(2) {
		t.Errorf("the other server is found as %+v, %v", found, err)
	}
}

func TestGrantsMayBeKeptElsewhere(t *testing.T) {
	var issued, reused []Grant
	s := newWithClient(t, func(c *Config) {
		c.Issue = func(g Grant) Tokens {
			issued = append(issued, g)
			return Tokens{AccessToken: "at", RefreshToken: "rt", Lifetime: time.Minute}
		}
		c.Accepts = func(token string) bool { return token == "another" }
		c.Refresh = func(w http.ResponseWriter, _ *http.Request, client Client, form url.Values) {
			writeJSON(w, http.StatusTeapot, map[string]any{client.ID: form.Get("refresh_token")})
		}
		c.Reused = func(g Grant) { reused = append(reused, g) }
	})
	form := codeForm(s, approved(t, s))
	_, answer := postToken(t, s, form)
	if answer["access_token"] != "at" || answer["refresh_token"] != "rt" || answer["expires_in"] != 60.0 ||
		len(issued) != 1 || issued[0].ClientID != "c" {
		t.Errorf("the answer is %v, issued for %+v", answer, issued)
	}
	if postToken(t, s, form); len(reused) != 1 || reused[0].AccessToken != "at" {
		t.Errorf("the second use of the code was told as %+v", reused)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {"c"}}
	if status, answer := postToken(t, s, refresh); status != http.StatusTeapot || answer["c"] != "x" {
		t.Errorf("the refresh is answered with %d %v", status, answer)
	}
	for token, want := range map[string]int{"at": 401, "another": 200} {
		if got := call(t, s, token).StatusCode; got != want {
			t.Errorf("the token %s is answered with %d, want %d", token, got, want)
		}
	}
}

func TestRevocationEndsTheGrant(t *testing.T) {
	s := newWithClient(t)
	_, tokens := postToken(t, s, codeForm(s, approved(t, s)))
	known, valid := s.FindAccessToken(tokens["access_token"].(string))
	if !valid || len(known.Scopes) != 1 || !known.ExpiresAt.After(time.Now()) {
		t.Errorf("its token is known as %+v, %v", known, valid)
	}
	resp, err := s.HTTPClient().PostForm(s.URL+RevokePath,
		url.Values{"client_id": {"c"}, "token": {tokens["refresh_token"].(string)}})
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	if _, valid := s.FindAccessToken(tokens["access_token"].(string)); valid || !s.Grants()[0].Revoked ||
		s.Grants()[0].Reused {
		t.Error("the access token outlives the grant")
	}
}
