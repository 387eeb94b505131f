package credential

import (
	"slices"
)

// Grant finds the grant of a type for a server URL and, if issuer is not empty, an issuer; nil if there is none.
// Newer grants come first.
func (c *Credential) Grant(serverURL, issuer, grantType string) *Grant {
	for i := range c.Grants {
		g := &c.Grants[i]
		if g.ServerURL == serverURL && (issuer == "" || g.Issuer == issuer) && g.GrantType == grantType {
			return g
		}
	}
	return nil
}

// PutGrant stores g as the newest, replaces the one for the same, and drops the oldest beyond MaxGrants.
func (c *Credential) PutGrant(g Grant) {
	c.DropGrant(&g.Binding)
	c.Grants = append([]Grant{g}, c.Grants[:min(len(c.Grants), MaxGrants-1)]...)
}

// DropGrant forgets the grant of the same type for the same server URL and issuer.
func (c *Credential) DropGrant(b *Binding) {
	c.Grants = slices.DeleteFunc(c.Grants, func(g Grant) bool {
		return g.ServerURL == b.ServerURL && g.Issuer == b.Issuer && g.GrantType == b.GrantType
	})
}

// NamedIssuer finds what a server named last; nil if nothing worth keeping.
func (c *Credential) NamedIssuer(serverURL string) *NamedIssuer {
	for i := range c.Named {
		if c.Named[i].ServerURL == serverURL {
			return &c.Named[i]
		}
	}
	return nil
}

// PutNamedIssuer stores n as the newest and replaces the one of the same server URL.
func (c *Credential) PutNamedIssuer(n NamedIssuer) {
	c.DropNamedIssuer(n.ServerURL)
	c.Named = append([]NamedIssuer{n}, c.Named[:min(len(c.Named), MaxGrants-1)]...)
}

// DropNamedIssuer forgets what a server named.
func (c *Credential) DropNamedIssuer(serverURL string) {
	c.Named = slices.DeleteFunc(c.Named, func(n NamedIssuer) bool { return n.ServerURL == serverURL })
}

// ForgetTokens forgets tokens that are of no more use, and keeps the grants that they are of: their clients are still
// known at the server.
func (c *Credential) ForgetTokens(tokens []string) {
	for i := range c.Grants {
		for _, token := range []*string{&c.Grants[i].RefreshToken, &c.Grants[i].AccessToken} {
			if *token != "" && slices.Contains(tokens, *token) {
				*token = ""
			}
		}
	}
}
