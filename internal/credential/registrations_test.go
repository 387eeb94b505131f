package credential

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func managed(id string) mcpoauth.ClientRegistration {
	return mcpoauth.ClientRegistration{
		Method: mcpoauth.Dynamic, ClientID: id, RegistrationClientURI: "https://login.example.com/register/" + id,
		RegistrationAccessToken: "token-of-" + id,
	}
}

func registered(id string) Registration {
	return Registration{Issuer: "https://login.example.com", RedirectURI: "https://connect.example.com/oauth/callback",
		Client: managed(id)}
}

func bound(id string) Binding {
	return Binding{Issuer: "https://login.example.com", Client: managed(id)}
}

func ids(registrations []Registration) []string {
	var out []string
	for _, r := range registrations {
		out = append(out, r.Client.ClientID)
	}
	return out
}

func TestAReplacedRegistrationIsKeptUntilNothingNeedsIt(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Credential)
		unused []string
	}{
		"replaced by another": {func(c *Credential) { c.PutRegistration(registered("b")) }, []string{"a"}},
		"replaced twice": {func(c *Credential) {
			c.PutRegistration(registered("b"))
			c.PutRegistration(registered("c"))
		}, []string{"b", "a"}},
		"dropped": {func(c *Credential) {
			c.DropRegistration("https://login.example.com", registered("a").RedirectURI)
		}, []string{"a"}},
		"still current": {func(*Credential) {}, nil},
		"needed by a grant": {func(c *Credential) {
			c.PutGrant(Grant{Binding: bound("a")})
			c.PutRegistration(registered("b"))
		}, nil},
		"needed by a link": {func(c *Credential) {
			c.Authorization.Offer = &Offer{Binding: bound("a")}
			c.PutRegistration(registered("b"))
		}, nil},
		"needed by a request": {func(c *Credential) {
			c.Authorization.Requests = []Request{{Binding: bound("a")}}
			c.PutRegistration(registered("b"))
		}, nil},
		"needed by a response": {func(c *Credential) {
			c.Authorization.Response = &Response{Request: Request{Binding: bound("a")}}
			c.PutRegistration(registered("b"))
		}, nil},
		"needed no more": {func(c *Credential) {
			c.PutGrant(Grant{Binding: bound("a")})
			c.PutRegistration(registered("b"))
			c.PutGrant(Grant{Binding: bound("b")})
		}, []string{"a"}},
		"of another issuer than the grant of the same name": {func(c *Credential) {
			c.PutGrant(Grant{Binding: Binding{Issuer: "https://other.example.com", Client: managed("a")}})
			c.PutRegistration(registered("b"))
		}, []string{"a"}},
		"pushed out by others": {func(c *Credential) {
			for i := range MaxGrants {
				r := registered(fmt.Sprint(i))
				r.RedirectURI += fmt.Sprint(i)
				c.PutRegistration(r)
			}
		}, []string{"a"}},
		"forgotten once it is deleted": {func(c *Credential) {
			c.PutRegistration(registered("b"))
			c.ForgetRetired("https://login.example.com", "a")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Credential{}
			c.PutRegistration(registered("a"))
			test.change(c)
			if got := ids(c.Unused()); !slices.Equal(got, test.unused) {
				t.Errorf("unused are %v, want %v", got, test.unused)
			}
		})
	}
}

func TestARegistrationThatCannotBeDeletedIsNotKept(t *testing.T) {
	c, r := &Credential{}, registered("a")
	r.Client.RegistrationAccessToken = ""
	c.PutRegistration(r)
	c.PutRegistration(registered("b"))
	if len(c.Retired) != 0 {
		t.Errorf("kept are %v", ids(c.Retired))
	}
	for i := range 3 * maxRetiredClients {
		c.PutRegistration(registered(fmt.Sprint(i)))
	}
	if got := ids(c.Retired); len(got) != maxRetiredClients || got[0] != fmt.Sprint(3*maxRetiredClients-2) {
		t.Errorf("kept are %v", got)
	}
}

func TestEveryCopyOfAClientIsReplacedAtOnce(t *testing.T) {
	c := &Credential{Grants: []Grant{{Binding: bound("a")}, {Binding: bound("b")},
		{Binding: Binding{Issuer: "https://other.example.com", Client: managed("a")}}}}
	c.PutRegistration(registered("a"))
	c.Retired = []Registration{registered("a")}
	c.Authorization = Authorization{
		Offer: &Offer{Binding: bound("a")}, Requests: []Request{{Binding: bound("a")}},
		Response: &Response{Request: Request{Binding: bound("a")}},
	}
	renewed := managed("a")
	renewed.ClientSecret = "new"
	c.ReplaceClient("https://login.example.com", renewed)
	replaced := 0
	c.bindings(func(b *Binding) {
		if b.Client == renewed {
			replaced++
		}
	})
	if replaced != 4 || c.Registrations[0].Client != renewed || c.Retired[0].Client != renewed ||
		c.Grants[1].Client != managed("b") || c.Grants[2].Client != managed("a") {
		t.Errorf("%d bindings were replaced: %+v", replaced, c)
	}
}

func TestAllThatIsManagedIsFoundOnceAndLeftAloneOnceItIsGone(t *testing.T) {
	c := &Credential{Grants: []Grant{{Binding: bound("a")}, {Binding: bound("old")},
		{Binding: Binding{Client: mcpoauth.ClientRegistration{ClientID: "by hand"}}}}}
	c.PutRegistration(registered("a"))
	c.Retired = []Registration{registered("old"), registered("older")}
	if got := ids(c.Managed()); !slices.Equal(got, []string{"a", "old", "older"}) {
		t.Errorf("managed are %v", got)
	}
	c.EndAll([]Registration{registered("old")})
	if got := ids(c.Managed()); !slices.Equal(got, []string{"old"}) || len(c.Grants)+len(c.Registrations) != 0 {
		t.Errorf("left are %v", got)
	}
}
