package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// ServerProbe says what a grant's token is tried with. One that is bound to a key is sent in no other way.
func ServerProbe(g *credential.Grant) mcpoauth.ServerProbe {
	p := mcpoauth.ServerProbe{ServerURL: g.ServerURL, AccessToken: g.AccessToken}
	if isDPoP(g) {
		p.DPoP = g.DPoPKey()
	}
	return p
}

// ProbeOf is the result of the token before, kept for the next of the same grant, which was asked for like a refresh.
func ProbeOf(old *credential.Grant) *credential.Probe {
	if old.Probe == nil {
		return nil
	}
	kept := credential.Grant{Probe: ptr.To(*old.Probe)}
	Refreshed(&kept)
	return kept.Probe
}

// RefusalIn is an error by which the server refused the token itself; nil if it did not, and all others may heal.
func RefusalIn(err error) *mcpoauth.Error {
	e := mcpoauth.AsError(err)
	if e == nil || (e.Code != mcpoauth.ProbeUnauthorized && e.Code != mcpoauth.InsufficientScope) {
		return nil
	}
	return e
}

// AcceptedProbe is the result of a probe that the server answered. Its time is that of the first one with this result.
func AcceptedProbe(g *credential.Grant, info *mcpoauth.ServerInfo, now time.Time) credential.Probe {
	found := credential.Probe{Name: info.Name, Version: info.Version, ProtocolVersion: info.ProtocolVersion,
		Tools: info.Tools, At: now}
	if info.ToolsAtLeast {
		found.Message = fmt.Sprintf("The server answers, and offers at least %d tools.", info.Tools)
	}
	if old := g.Probe; old != nil {
		same := *old
		same.Reason, same.Message, same.Token, same.Wants, same.At = "", found.Message, "", "", now
		if same == found && !old.At.IsZero() {
			found.At = old.At
		}
	}
	return found
}

// RejectedProbe is the result of a probe whose token was refused. What the server said of itself before stays. For a
// 401 there is one refresh, and if that does not help one discovery, until the server accepts a token again.
func RejectedProbe(g *credential.Grant, e *mcpoauth.Error) credential.Probe {
	found := credential.Probe{}
	if g.Probe != nil {
		found = *g.Probe
	}
	before := found.Reason
	found.Reason, found.Token = string(e.Code), tokenID(g)
	if e.Code == mcpoauth.InsufficientScope {
		found.Message, found.Wants = demandText(g, e.Challenge.Scopes), credential.WantsNothing
		return found
	}
	found.Message = "The server refuses the published token: " + Sentence(e.Message)
	if before != v1alpha1.ReasonProbeUnauthorized {
		found.Wants = credential.WantsRefresh
	}
	return found
}

// demandText says which scopes a probe lacked.
func demandText(g *credential.Grant, demanded []string) string {
	scopes := mcpoauth.SelectScopes(demanded, &mcpoauth.Discovery{}, "Never") // less what is no scope token
	missing := lacking(scopes, g.GrantedScopes)
	what := "more scopes, and does not say which"
	switch {
	case len(missing) > 0:
		what = "scopes that were not granted: " + mcpoauth.Sanitize(strings.Join(missing, " "), MaxScopeText)
	case len(scopes) > 0:
		what = "the scopes " + mcpoauth.Sanitize(strings.Join(scopes, " "), MaxScopeText) + ", which were granted"
	}
	return fmt.Sprintf("The server demands %s. No consent is asked for because of that: add to spec.scopes what "+
		"workloads need, or have the account's rights checked at the server.", what)
}

// MaxScopeText bounds what is repeated of a list that a server made.
const MaxScopeText = 500
