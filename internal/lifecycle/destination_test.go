package lifecycle

import "testing"

func TestWhatAServerNamesIsOneWordOfAShell(t *testing.T) {
	if got, want := Quoted("a=https://x/$(id)`id`'; id"), `'a=https://x/$(id)`+"`id`"+`'\''; id'`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestTheOwnersWordBindsASecret(t *testing.T) {
	const issuer, other = "https://auth.example", "https://other.example"
	for name, c := range map[string]struct {
		holder Holder
		to     Destination
		want   bool
	}{
		"an endpoint of the issuer's origin":  {Holder{}, Destination{issuer + "/token", issuer, false}, true},
		"one that the issuer's metadata name": {Holder{}, Destination{other + "/token", issuer, true}, true},
		"one that only the spec names":        {Holder{}, Destination{other + "/token", issuer, false}, false},
		"one that the owner allows": {Holder{Allowed: "https://a.example, " + other + "/token"},
			Destination{other + "/token", issuer, false}, true},
		"another path at the host that the owner allows": {Holder{Allowed: other + "/token"},
			Destination{other + "/evil", issuer, false}, false},
		"one of another issuer than the owner's": {Holder{Issuer: issuer}, Destination{other + "/token", other, true}, false},
		"one of another issuer that the owner allows": {Holder{Issuer: issuer, Allowed: other + "/token"},
			Destination{other + "/token", other, true}, true},
		"one of the owner's issuer":           {Holder{Issuer: issuer}, Destination{issuer + "/token", issuer, true}, true},
		"the issuer's host by another scheme": {Holder{}, Destination{"http://auth.example/token", issuer, false}, false},
		"the issuer's host at another port":   {Holder{}, Destination{issuer + ":8443/token", issuer, false}, false},
		"the issuer's host with its port spelled out": {Holder{},
			Destination{issuer + ":443/token", issuer, false}, true},
		"a host that begins as the issuer's does": {Holder{},
			Destination{issuer + ".evil.example/token", issuer, false}, false},
		"the issuer's host as a user name": {Holder{},
			Destination{"https://auth.example@evil.example/token", issuer, false}, false},
		"nowhere, since the server has no such endpoint, is fine": {Holder{Issuer: issuer}, Destination{"", issuer, false},
			true},
	} {
		if err := c.holder.Admits(c.to); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
