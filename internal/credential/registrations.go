package credential

import (
	"slices"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxRetiredClients is how many replaced registrations are remembered until they are deleted at their server.
const maxRetiredClients = 8

// Registration finds the client for an issuer and redirect URI; nil if there is none.
func (c *Credential) Registration(issuer, redirectURI string) *Registration {
	for i := range c.Registrations {
		r := &c.Registrations[i]
		if r.Issuer == issuer && r.RedirectURI == redirectURI {
			return r
		}
	}
	return nil
}

// PutRegistration stores r as the newest and retires the one of the same issuer and redirect URI.
func (c *Credential) PutRegistration(r Registration) {
	kept := []Registration{r}
	for _, old := range c.Registrations {
		if (old.Issuer != r.Issuer || old.RedirectURI != r.RedirectURI) && len(kept) < MaxGrants {
			kept = append(kept, old)
			continue
		}
		c.retire(old)
	}
	c.Registrations = kept
}

// DropRegistration retires the client for an issuer and redirect URI.
func (c *Credential) DropRegistration(issuer, redirectURI string) {
	c.Registrations = slices.DeleteFunc(c.Registrations, func(r Registration) bool {
		if r.Issuer != issuer || r.RedirectURI != redirectURI {
			return false
		}
		c.retire(r)
		return true
	})
}

// retire remembers a registration that can be deleted at its server. A grant may still need it.
func (c *Credential) retire(r Registration) {
	if !r.Client.Managed() {
		return
	}
	c.ForgetRetired(r.Issuer, r.Client.ClientID)
	c.Retired = append([]Registration{r}, c.Retired[:min(len(c.Retired), maxRetiredClients-1)]...)
}

// ForgetRetired forgets a retired registration.
func (c *Credential) ForgetRetired(issuer, clientID string) {
	c.Retired = slices.DeleteFunc(slices.Clone(c.Retired), func(r Registration) bool {
		return r.Issuer == issuer && r.Client.ClientID == clientID
	})
}

// Unused are the retired registrations that neither a grant nor a consent in progress needs.
func (c *Credential) Unused() []Registration {
	return slices.DeleteFunc(slices.Clone(c.Retired), func(r Registration) bool {
		used := slices.ContainsFunc(c.Registrations, func(current Registration) bool {
			return current.Issuer == r.Issuer && current.Client.ClientID == r.Client.ClientID
		})
		c.bindings(func(b *Binding) {
			used = used || (b.Issuer == r.Issuer && b.Client.ClientID == r.Client.ClientID)
		})
		return used
	})
}

// Managed are all registrations that can be deleted at their servers, each once.
func (c *Credential) Managed() []Registration {
	var all []Registration
	add := func(r Registration) {
		known := slices.ContainsFunc(all, func(known Registration) bool {
			return known.Issuer == r.Issuer && known.Client.ClientID == r.Client.ClientID
		})
		if r.Client.Managed() && !known {
			all = append(all, r)
		}
	}
	for _, r := range slices.Concat(c.Registrations, c.Retired) {
		add(r)
	}
	for i := range c.Grants {
		b := &c.Grants[i].Binding
		add(Registration{Issuer: b.Issuer, RedirectURI: b.RedirectURI, Client: b.Client})
	}
	return all
}

// EndAll forgets all grants and all registrations but those that are still to be deleted at their servers.
func (c *Credential) EndAll(left []Registration) {
	c.Grants, c.Registrations, c.Retired = nil, nil, left
}

// ReplaceClient puts a client in place of every copy of it: those of its registration, of grants and of consents in
// progress.
func (c *Credential) ReplaceClient(issuer string, client mcpoauth.ClientRegistration) {
	for _, registrations := range [][]Registration{c.Registrations, c.Retired} {
		for i := range registrations {
			if r := &registrations[i]; r.Issuer == issuer && r.Client.ClientID == client.ClientID {
				r.Client = client
			}
		}
	}
	c.bindings(func(b *Binding) {
		if b.Issuer == issuer && b.Client.ClientID == client.ClientID {
			b.Client = client
		}
	})
}

// bindings calls f with all that are stored.
func (c *Credential) bindings(f func(*Binding)) {
	for i := range c.Grants {
		f(&c.Grants[i].Binding)
	}
	a := &c.Authorization
	if a.Offer != nil {
		f(&a.Offer.Binding)
	}
	for i := range a.Requests {
		f(&a.Requests[i].Binding)
	}
	if a.Response != nil {
		f(&a.Response.Request.Binding)
	}
}
