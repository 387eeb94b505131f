package mcpoauth

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// managedClient registers a client with a secret that expires.
func managedClient(t *testing.T) (*oauthtest.Server, *Client, RegistrationRequest, *ClientRegistration) {
	t.Helper()
	s := oauthtest.New(t, func(c *oauthtest.Config) {
		c.RegistrationManagement, c.InitialAccessToken, c.ClientSecretLifetime = true, "hunter2-initial", time.Hour
	})
	c := newTestClient(t, s)
	r := RegistrationRequest{
		Endpoint: s.URL + "/register", RedirectURI: testRedirectURI, AuthMethod: AuthMethodClientSecretPost,
		InitialAccessToken: "hunter2-initial", DPoPBound: true,
	}
	got, err := c.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, r, got
}

func TestProtectedRegistration(t *testing.T) {
	s, c, r, got := managedClient(t)
	var sent map[string]any
	_ = json.Unmarshal([]byte(s.Last("/register").Body), &sent)
	if got.RegistrationClientURI != s.URL+"/register/"+got.ClientID || got.RegistrationAccessToken == "" ||
		sent["dpop_bound_access_tokens"] != true {
		t.Errorf("got %+v, sent %v", got, sent)
	}
	r.InitialAccessToken = "hunter2-wrong"
	_, err := c.Register(t.Context(), r)
	wantError(t, err, Misconfigured, RegistrationRefused, "401", "the initial access token may be wrong")
	r.InitialAccessToken = ""
	_, err = c.Register(t.Context(), r)
	wantError(t, err, Misconfigured, RegistrationRefused, "spec.client.initialAccessTokenSecretRef")
}

func TestAnUpdateRenewsSecretAndToken(t *testing.T) {
	s, c, r, old := managedClient(t)
	s.Configure(func(c *oauthtest.Config) { c.ClientSecretLifetime = 2 * time.Hour })
	r.AuthMethod, r.ClientName = "", "renamed"
	renewed, err := c.UpdateRegistration(t.Context(), r, old)
	if err != nil {
		t.Fatal(err)
	}
	stored := s.Clients()[0]
	if renewed.ClientID != old.ClientID || renewed.ClientSecret != stored.Secret ||
		renewed.ClientSecret == old.ClientSecret ||
		renewed.RegistrationAccessToken != stored.RegistrationAccessToken || renewed.AuthMethod != old.AuthMethod ||
		!renewed.SecretExpiresAt.After(old.SecretExpiresAt) {
		t.Errorf("renewed %+v, stored %+v", renewed, stored)
	}
	_, err = c.UpdateRegistration(t.Context(), r, old)
	wantError(t, err, Misconfigured, RegistrationRefused, "401", "registered anew")
	if err := c.DeleteRegistration(t.Context(), renewed); err != nil || len(s.Clients()) != 0 {
		t.Errorf("%v, clients %+v", err, s.Clients())
	}
	if err := c.DeleteRegistration(t.Context(), renewed); err != nil {
		t.Errorf("a second deletion: %v", err)
	}
}

func TestWhatAnUpdateLeavesOutStays(t *testing.T) {
	expiry := time.Unix(1800000000, 0).UTC()
	s := oauthtest.New(t)
	uri := s.URL + "/register/a"
	old := ClientRegistration{
		Method: Dynamic, ClientID: "a", ClientSecret: "s", AuthMethod: "client_secret_post", SecretExpiresAt: expiry,
		RegistrationClientURI: uri, RegistrationAccessToken: "t",
	}
	for _, tt := range []struct {
		name, body string
		change     func(*ClientRegistration)
	}{
		{"everything", `{}`, func(*ClientRegistration) {}},
		{"all but the token", `{"client_id":"a","registration_access_token":"u"}`,
			func(r *ClientRegistration) { r.RegistrationAccessToken = "u" }},
		{"a URI elsewhere is not used", `{"client_id":"a","registration_client_uri":"https://x/y"}`,
			func(*ClientRegistration) {}},
		{"a new URI", `{"registration_client_uri":"` + uri + `b"}`,
			func(r *ClientRegistration) { r.RegistrationClientURI = uri + "b" }},
		{"the same secret lives longer", `{"client_secret_expires_at":1800000001}`,
			func(r *ClientRegistration) { r.SecretExpiresAt = expiry.Add(time.Second) }},
		{"the same secret lives for ever", `{"client_secret_expires_at":0}`,
			func(r *ClientRegistration) { r.SecretExpiresAt = time.Time{} }},
		{"a new secret without expiry", `{"client_secret":"s2"}`, func(r *ClientRegistration) {
			r.ClientSecret, r.SecretExpiresAt = "s2", time.Time{}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Handle("/register/a", body(200, "application/json", tt.body))
			want := old
			tt.change(&want)
			got, err := newTestClient(t, s).UpdateRegistration(t.Context(), RegistrationRequest{RedirectURI: testRedirectURI},
				&old)
			if err != nil {
				t.Fatal(err)
			}
			if *got != want {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

func TestManagementErrors(t *testing.T) {
	const path = "/register/a"
	said := body(400, "application/json", `{"error":"invalid_client_metadata","error_description":"hunter2 is no token"}`)
	for _, tt := range []struct {
		name           string
		handler        http.HandlerFunc
		update, delete Code // empty: success
	}{
		{"400", said, RegistrationRefused, RegistrationRefused},
		{"401", status(401), RegistrationRefused, ""},
		{"403", status(403), RegistrationRefused, RegistrationRefused},
		{"404", status(404), RegistrationRefused, ""},
		{"405", status(405), RegistrationRefused, RegistrationRefused},
		{"410", status(410), RegistrationRefused, ""},
		{"307", status(307), RegistrationRefused, RegistrationRefused},
		{"429", status(429), RegistrationFailing, RegistrationFailing},
		{"503", status(503), RegistrationFailing, RegistrationFailing},
		{"a dropped connection", dropConnection, RegistrationFailing, RegistrationFailing},
		{"a web page", body(200, "text/html", "<p>"), RegistrationFailing, ""},
		{"another client", body(200, "application/json", `{"client_id":"b"}`), RegistrationRefused, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle(path, tt.handler)
			c := newTestClient(t, s)
			r := &ClientRegistration{ClientID: "a", RegistrationClientURI: s.URL + path, RegistrationAccessToken: "hunter2"}
			_, err := c.UpdateRegistration(t.Context(), RegistrationRequest{RedirectURI: testRedirectURI}, r)
			checkManagement(t, err, tt.update)
			checkManagement(t, c.DeleteRegistration(t.Context(), r), tt.delete)
			if n := s.Count(path); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
	s := oauthtest.New(t)
	c := newTestClient(t, s, func(o *Options) { o.AllowInsecureHTTP = false })
	wantError(t, c.DeleteRegistration(t.Context(), &ClientRegistration{ClientID: "a"}), Misconfigured, RegistrationRefused,
		"registration_client_uri")
	insecure := &ClientRegistration{RegistrationClientURI: s.URL + path, RegistrationAccessToken: "hunter2"}
	wantError(t, c.DeleteRegistration(t.Context(), insecure), Misconfigured, InsecureURL)
}

func checkManagement(t *testing.T, err error, want Code) {
	t.Helper()
	switch want {
	case "":
		if err != nil {
			t.Error(err)
		}
	case RegistrationFailing:
		wantError(t, err, Transient, want)
	default:
		wantError(t, err, Misconfigured, want)
	}
}
