package controller

import (
	"context"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// discoverTimeout bounds a whole discovery, which is a chain of requests with a time-out each.
const discoverTimeout = time.Minute

// discover finds the authorization server. Endpoints that moved at the same issuer are adopted.
func (r *Reconciler) discover(ctx context.Context, o *work) error {
	return r.withSlot(o, o.conn.Spec.ServerURL, func() error {
		ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
		defer cancel()
		found, err := r.OAuth.For(o.conn.Spec.ServerURL).Discover(r.admitting(ctx, o, urgency(r.Clock.Now(), o.observed)), discoveryRequest(o.observed))
		if keptBack(err) {
			return nil
		}
		o.rediscover = false
		if err != nil {
			o.fail(r.Clock.Now(), stepDiscover, err, "")
			return nil
		}
		if !found.AuthorizationRequired {
			o.failures.clear(stepDiscover)
			return r.savePublic(ctx, o)
		}
		return r.discovered(ctx, o, found)
	})
}

// savePublic notes that the server needs no authorization.
func (r *Reconciler) savePublic(ctx context.Context, o *work) error {
	public := credential.Grant{Public: true, IssuedAt: r.Clock.Now(), Binding: credential.Binding{ServerURL: o.conn.Spec.ServerURL}}
	if old := o.grant(); old != nil && old.Public && old.Probe != nil { // what the last probe asked for was done
		public.Probe = ptr.To(*old.Probe)
		public.Probe.Wants = credential.WantsNothing
	}
	err := r.update(ctx, o, func(c *credential.Credential) error {
		c.DropNamedIssuer(o.conn.Spec.ServerURL)
		c.PutGrant(public)
		c.Authorization.Withdraw()
		o.keep(c, v1alpha1.AnnotationReauthorize)
		o.keep(c, v1alpha1.AnnotationChallenge)
		return nil
	})
	if err == nil {
		o.handled.Reauthorize, o.handled.Challenge = requestOf(o.conn, v1alpha1.AnnotationReauthorize), challengeID(o.conn)
	}
	return err
}

// discovered takes over what was found. Where no link could work, nobody is registered and no link is offered.
func (r *Reconciler) discovered(ctx context.Context, o *work, found *mcpoauth.Discovery) error {
	o.discovery = found
	trouble := linkTrouble(o.observed, r.Clock.Now())
	if trouble == nil {
		o.failures.clear(stepDiscover)
		return r.adopt(ctx, o)
	}
	o.fail(r.Clock.Now(), stepDiscover, trouble, "")
	err := r.adopt(ctx, o)
	o.discovery = nil
	return err
}

func discoveryRequest(o *observed) mcpoauth.DiscoveryRequest {
	request := discovery.Request(o.spec())
	if o.importWanted() && request.Issuer == "" {
		request.Issuer = o.imported.issuer
	}
	return request
}
