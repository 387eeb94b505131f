package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxNamed bounds what is kept of an identifier that only the server vouches for.
const maxNamed = 200

// adopt takes over what a discovery found: endpoints that moved at the same issuer, or that the issuer is another one.
// Whatever was stored for one issuer stays with it.
func (r *Reconciler) adopt(ctx context.Context, o *work) error {
	if o.held == nil {
		return nil
	}
	g, as := o.grant(), &o.discovery.AuthorizationServer
	named := namedIssuer(o.observed, o.discovery)
	moves := o.mayMove(g, as)
	hasMoved := moves && movedEndpoints(g, as)
	o.noteMoves(named, hasMoved)
	challenged, probed := o.pending() == credential.WantsDiscovery, o.probePending() == credential.WantsDiscovery
	err := r.update(ctx, o, func(c *credential.Credential) error {
		if named != nil {
			c.PutNamedIssuer(*named)
		}
		if g != nil {
			adoptInto(c, g, o.discovery, moves, challenged, probed, named != nil && named.Pinned != "")
			if challenged && !wantsRefresh(c.Grant(g.ServerURL, g.Issuer, g.GrantType)) {
				o.keep(c, v1alpha1.AnnotationChallenge)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if hasMoved {
		o.failures.clear(stepRefresh)
	}
	o.adopted(g)
	// A key that tokens have to be bound to from now on wants one more refresh.
	if challenged && !wantsRefresh(o.grant()) {
		o.handled.Challenge = challengeID(o.conn)
	}
	return nil
}

// adopted forgets what failed without the proof that tokens are bound to now. before is the grant as it was.
func (o *observed) adopted(before *credential.Grant) {
	if now := o.grant(); before != nil && now != nil && now.DPoPJWK != before.DPoPJWK {
		o.failures.clear(stepRefresh)
		o.failures.clear(stepRequestToken)
	}
	if now := o.grant(); before != nil && now != nil && now.Documented && !before.Documented {
		o.failures.clear(stepRequestToken) // which may have waited for that
	}
}

func movedEndpoints(g *credential.Grant, as *mcpoauth.AuthorizationServerMetadata) bool {
	return g.Issuer == as.Issuer && (g.TokenEndpoint != as.TokenEndpoint || g.RevocationEndpoint != as.RevocationEndpoint)
}

// noteMoves tells of endpoints that moved, and of another issuer.
func (o *observed) noteMoves(named *credential.NamedIssuer, moved bool) {
	g, as := o.grant(), &o.discovery.AuthorizationServer
	switch {
	case g == nil:
	case moved:
		o.notes = append(o.notes, note{reason: "EndpointsMoved", message: "The authorization server " + g.Issuer + " moved its endpoints; the grant now uses " + as.TokenEndpoint + "."})
	case named != nil && named.Pinned == "" && !g.Public && g.Issuer != named.Issuer:
		o.notes = append(o.notes, note{warning: true, reason: v1alpha1.ReasonIssuerChanged,
			message: fmt.Sprintf("The server now names the authorization server %s instead of %s. Nothing stored is sent there.", named.Issuer, g.Issuer)})
	}
}

// wantsRefresh says whether a challenge still calls for a refresh.
func wantsRefresh(g *credential.Grant) bool {
	return g != nil && g.Challenge != nil && g.Challenge.Wants == credential.WantsRefresh
}

// adoptInto changes the grant that counted when the discovery began.
func adoptInto(c *credential.Credential, counted *credential.Grant, found *mcpoauth.Discovery, moves, challenged, probed, unlisted bool) {
	as := &found.AuthorizationServer
	g := c.Grant(counted.ServerURL, counted.Issuer, counted.GrantType)
	switch {
	case g == nil:
		return
	case g.Public:
		c.DropGrant(&g.Binding)
		return
	case moves && g.Issuer == as.Issuer:
		g.TokenEndpoint, g.RevocationEndpoint, g.Documented = as.TokenEndpoint, as.RevocationEndpoint, as.Documented
	}
	challenged, probed = challenged && g.Challenge != nil, probed && g.Probe != nil
	want := credential.WantsNothing
	if (challenged || probed) && g.Issuer == as.Issuer && found.DPoPRequired && g.DPoPJWK == "" && renewable(g) {
		g.DPoPJWK, want = string(mcpoauth.GenerateDPoPKey().JWK()), credential.WantsRefresh
	}
	if probed {
		g.Probe.Wants = want
	}
	switch {
	case challenged && want == credential.WantsRefresh:
		g.Challenge.Wants = want
	case challenged:
		rediscovered(g, g.Issuer == as.Issuer && !unlisted)
	}
}

// namedIssuer is what is to be remembered of the issuer that a discovery found; nil if nothing.
func namedIssuer(o *observed, found *mcpoauth.Discovery) *credential.NamedIssuer {
	g, before, pinned := o.grant(), o.named(), o.pinnedIssuer()
	n := &credential.NamedIssuer{ServerURL: o.conn.Spec.ServerURL, Issuer: found.AuthorizationServer.Issuer}
	if pinned != "" && found.Unlisted != "" && (o.issuerChanged() || (g != nil && !g.Public && !g.Unlisted)) {
		n.Issuer, n.Pinned = mcpoauth.Sanitize(found.Unlisted, maxNamed), pinned
		return n
	}
	if before == nil && (g == nil || g.Public || g.Issuer == n.Issuer) {
		return nil
	}
	return n
}

// stopAtChangedIssuer notes that the server does not name the spec's issuer any more. It is looked at again now and then.
func (o *observed) stopAtChangedIssuer(now time.Time, s step) {
	o.recordFailure(s, v1alpha1.ReasonIssuerChanged, o.withRedirectURI(fmt.Sprintf(
		"The server now names the authorization server %s instead of %s, which the spec pins. Nothing stored is sent there: set spec.client.issuer, with credentials of a client that is registered there, or spec.authorizationServer.issuer.",
		o.named().Issuer, o.pinnedIssuer())),
		now, func(attempts int32) time.Time {
			return now.Add(retryDelay(o.conn.UID, s, attempts, mcpoauth.Misconfigured))
		})
}
