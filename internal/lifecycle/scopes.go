package lifecycle

import (
	"slices"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// lacking are the scopes that are not among those that are there.
func lacking(scopes, there []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(there, s) })
}

// scopesGrown reports whether the spec names scopes that were neither granted nor asked for.
func (s *State) scopesGrown() bool {
	g := s.Grant()
	if g == nil || g.Public || g.Revoke != "" || g.SetAside != nil {
		return false
	}
	scopes := mcpoauth.SelectScopes(specScopes(s.Spec()), &mcpoauth.Discovery{}, "Never")
	return len(lacking(lacking(scopes, g.GrantedScopes), g.Scopes)) > 0
}

// offerCovers reports whether a link asks for the scopes that a challenge demands.
func (s *State) offerCovers(offer *credential.Offer) bool {
	g := s.Grant()
	return g == nil || !WantsConsent(g) || len(lacking(g.Challenge.Scopes, offer.Binding.Scopes)) == 0
}

func specScopes(spec *v1alpha1.MCPConnectionSpec) []string {
	scopes := make([]string, 0, len(spec.Scopes))
	for _, scope := range spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return scopes
}

// requestedScopes are those of an automatic or specified selection; for more scopes than were granted, all that were
// granted and all that are wanted. What challenges brought is kept.
func requestedScopes(s *State) []string {
	g, wanted := s.Grant(), specScopes(s.Spec())
	stepUp := g != nil && WantsConsent(g) && g.Challenge.Insufficient
	if stepUp {
		wanted = slices.Concat(g.GrantedScopes, wanted, g.Challenge.Scopes)
	} else if s.scopesGrown() {
		wanted = slices.Concat(g.GrantedScopes, wanted)
	}
	scopes := mcpoauth.SelectScopes(wanted, s.Discovery, string(s.offlineAccess()))
	if g != nil && len(scopes) > 0 {
		scopes = append(scopes, lacking(g.Challenged, scopes)...)
	}
	return scopes
}

// offlineAccess says when offline_access is asked for: it stands for a refresh token, which only a person's grant has.
func (s *State) offlineAccess() v1alpha1.OfflineAccess {
	wanted := Compatibility(s.Spec()).OfflineAccess
	if s.NonInteractive() && wanted != v1alpha1.OfflineAccessAlways {
		return v1alpha1.OfflineAccessNever
	}
	return wanted
}
