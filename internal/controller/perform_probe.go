package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// probe tries the published token at the MCP server, as a workload would.
func (r *Reconciler) probe(ctx context.Context, o *work) error {
	return r.withProbeSlot(o, o.conn.Spec.ServerURL, func() error {
		if err := r.noteProbe(ctx, o); err != nil {
			return err
		}
		g := o.grant()
		info, err := r.OAuth.For(g.ServerURL).ProbeServer(ctx, serverProbe(g))
		now, refusal := r.Clock.Now().Truncate(time.Second), refusalIn(err)
		switch {
		case err == nil:
			o.failures.clear(stepProbe)
			return r.saveProbe(ctx, o, acceptedProbe(g, info, now))
		case refusal == nil || (refusal.Code == mcpoauth.InsufficientScope && o.refused()): // that changes nothing
			r.probeFailed(o, err)
			return nil
		}
		o.discovery = nil // a new one may be wanted
		again := o.refused()
		if err := r.saveProbe(ctx, o, rejectedProbe(g, refusal)); err != nil {
			return err
		}
		if !again {
			o.failures.clear(stepProbe) // it was of another token
		}
		if refusal.Code == mcpoauth.ProbeUnauthorized {
			r.probeFailed(o, refusal)
		}
		return nil
	})
}

// probeFailed has the server tried again. A refused token is not hurried, whatever its server answers now.
func (r *Reconciler) probeFailed(o *work, err error) {
	reason := v1alpha1.ReasonServerUnreachable
	if e := refusalIn(err); e != nil {
		reason = string(e.Code)
	}
	if !o.refused() {
		o.fail(r.Clock.Now(), stepProbe, err, reason)
		return
	}
	slow := &mcpoauth.Error{Kind: mcpoauth.Misconfigured}
	if e := mcpoauth.AsError(err); e != nil {
		slow.RetryAfter = e.RetryAfter
	}
	o.failAs(r.Clock.Now(), stepProbe, slow, reason, "The published token is refused, and trying it again leads to nothing else: "+err.Error())
}

// serverProbe says what a grant's token is tried with. One that is bound to a key is sent in no other way.
func serverProbe(g *credential.Grant) mcpoauth.ServerProbe {
	p := mcpoauth.ServerProbe{ServerURL: g.ServerURL, AccessToken: g.AccessToken}
	if isDPoP(g) {
		p.DPoP = g.DPoPKey()
	}
	return p
}

// probeOf is the result of the token before, kept for the next of the same grant, which was asked for like a refresh.
func probeOf(old *credential.Grant) *credential.Probe {
	if old.Probe == nil {
		return nil
	}
	kept := credential.Grant{Probe: ptr.To(*old.Probe)}
	refreshed(&kept)
	return kept.Probe
}

// noteProbe keeps that the server is being tried. If the process dies of the answer, the next one reads so and waits.
func (r *Reconciler) noteProbe(ctx context.Context, o *work) error {
	return r.update(ctx, o, func(c *credential.Credential) error {
		c.ProbedAt = r.Clock.Now().Truncate(time.Second)
		return nil
	})
}

// saveProbe keeps a result with the grant if it is another than before.
func (r *Reconciler) saveProbe(ctx context.Context, o *work, found credential.Probe) error {
	g := o.grant()
	if g.Probe != nil && *g.Probe == found && !untried(g) && (!g.RefusedBefore || found.Reason != "") {
		return nil
	}
	tried, generation := g.Binding, g.Generation
	return r.update(ctx, o, func(c *credential.Credential) error {
		g := c.Grant(tried.ServerURL, tried.Issuer, tried.GrantType)
		if g == nil || g.Generation != generation {
			return claims.ErrLost
		}
		g.Probe = &found
		if g.SetAside != nil {
			g.SetAside.Tried = true
		}
		if found.Reason == "" {
			g.RefusedBefore = false
		}
		return nil
	})
}

// refusalIn is an error by which the server refused the token itself; nil if it did not, and all others may heal.
func refusalIn(err error) *mcpoauth.Error {
	e := mcpoauth.AsError(err)
	if e == nil || (e.Code != mcpoauth.ProbeUnauthorized && e.Code != mcpoauth.InsufficientScope) {
		return nil
	}
	return e
}

// acceptedProbe is the result of a probe that the server answered. Its time is that of the first one with this result.
func acceptedProbe(g *credential.Grant, info *mcpoauth.ServerInfo, now time.Time) credential.Probe {
	found := credential.Probe{Name: info.Name, Version: info.Version, ProtocolVersion: info.ProtocolVersion, Tools: info.Tools, At: now}
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

// rejectedProbe is the result of a probe whose token was refused. What the server said of itself before stays. For a 401
// there is one refresh, and if that does not help one discovery, until the server accepts a token again.
func rejectedProbe(g *credential.Grant, e *mcpoauth.Error) credential.Probe {
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
	found.Message = "The server refuses the published token: " + sentence(e.Message)
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
		what = "scopes that were not granted: " + mcpoauth.Sanitize(strings.Join(missing, " "), maxScopeText)
	case len(scopes) > 0:
		what = "the scopes " + mcpoauth.Sanitize(strings.Join(scopes, " "), maxScopeText) + ", which were granted"
	}
	return fmt.Sprintf("The server demands %s. No consent is asked for because of that: add to spec.scopes what workloads need, or have the account's rights checked at the server.", what)
}

// maxScopeText bounds what is repeated of a list that a server made.
const maxScopeText = 500
