package controller

import (
	"testing"
)

func TestTheOwnersWordBindsASecret(t *testing.T) {
	const issuer, other = "https://auth.example", "https://other.example"
	for name, c := range map[string]struct {
		holder holder
		to     destination
		want   bool
	}{
		"an endpoint of the issuer's origin":                      {holder{}, destination{issuer + "/token", issuer, false}, true},
		"one that the issuer's metadata name":                     {holder{}, destination{other + "/token", issuer, true}, true},
		"one that only the spec names":                            {holder{}, destination{other + "/token", issuer, false}, false},
		"one that the owner allows":                               {holder{allowed: "https://a.example, " + other + "/token"}, destination{other + "/token", issuer, false}, true},
		"another path at the host that the owner allows":          {holder{allowed: other + "/token"}, destination{other + "/evil", issuer, false}, false},
		"one of another issuer than the owner's":                  {holder{issuer: issuer}, destination{other + "/token", other, true}, false},
		"one of another issuer that the owner allows":             {holder{issuer: issuer, allowed: other + "/token"}, destination{other + "/token", other, true}, true},
		"one of the owner's issuer":                               {holder{issuer: issuer}, destination{issuer + "/token", issuer, true}, true},
		"the issuer's host by another scheme":                     {holder{}, destination{"http://auth.example/token", issuer, false}, false},
		"the issuer's host at another port":                       {holder{}, destination{issuer + ":8443/token", issuer, false}, false},
		"the issuer's host with its port spelled out":             {holder{}, destination{issuer + ":443/token", issuer, false}, true},
		"a host that begins as the issuer's does":                 {holder{}, destination{issuer + ".evil.example/token", issuer, false}, false},
		"the issuer's host as a user name":                        {holder{}, destination{"https://auth.example@evil.example/token", issuer, false}, false},
		"nowhere, since the server has no such endpoint, is fine": {holder{issuer: issuer}, destination{"", issuer, false}, true},
	} {
		if err := c.holder.admits(c.to); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
