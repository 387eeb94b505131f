package mcpoauth

import (
	"net/url"
	"testing"
	"time"
)

func TestTheLifeOfARefreshTokenIsReadInEveryForm(t *testing.T) {
	received := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for body, test := range map[string]struct {
		want  time.Duration
		named bool
	}{
		``:                               {},
		`,"refresh_expires_in":1800`:     {30 * time.Minute, true},
		`,"refresh_expires_in":"1800"`:   {30 * time.Minute, true},
		`,"refresh_expires_in":1800.5`:   {30*time.Minute + time.Second/2, true},
		`,"refresh_token_expires_in":60`: {time.Minute, true},
		`,"refresh_expires_in":1800,"refresh_token_expires_in":60`: {time.Minute, true},
		`,"refresh_expires_in":0,"refresh_token_expires_in":"60"`:  {time.Minute, true},
		`,"refresh_expires_in":0`:                                  {0, true},
		`,"refresh_expires_in":-1`:                                 {0, true},
		`,"refresh_expires_in":null`:                               {0, true},
		`,"refresh_expires_in":""`:                                 {0, true},
		`,"refresh_expires_in":"soon"`:                             {0, true},
		`,"refresh_expires_in":[1800]`:                             {0, true},
		`,"refresh_expires_in":"NaN"`:                              {0, true},
		`,"refresh_expires_in":1e300`:                              {maxLifetime * time.Second, true},
		`,"Refresh_Expires_In":1800`:                               {},
	} {
		a := &answer{status: 200, receivedAt: received, body: []byte(`{"access_token":"a","refresh_token":"r"` + body + `}`)}
		got, e := parseTokenResponse(a, &url.URL{Scheme: "https", Host: "login.example.com"}, "")
		if e != nil {
			t.Fatalf("%s: %v", body, e)
		}
		var life time.Duration
		if !got.RefreshExpiresAt.IsZero() {
			life = got.RefreshExpiresAt.Sub(received)
		}
		if life != test.want || got.RefreshExpiryNamed != test.named {
			t.Errorf("%s: %s, named: %t", body, life, got.RefreshExpiryNamed)
		}
	}
}
