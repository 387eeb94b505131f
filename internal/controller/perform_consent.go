package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// maxExpiredConsents is how many links of one registration may be opened and expire before the client is registered anew.
	maxExpiredConsents = 3
	// maxRenewals is how many clients may take the place of one that never completed a flow.
	maxRenewals = 3
)

// register finds the client for the discovered authorization server: one that the spec names, one that was registered
// before, or a new one. A new one is saved before it is used.
func (r *Reconciler) register(ctx context.Context, o *work) error {
	if o.unattended() {
		o.registerUnattended(r.Clock.Now())
		return nil
	}
	as := o.discovery.AuthorizationServer
	documentURL := o.metadataDocumentURL()
	method, err := mcpoauth.SelectRegistration(wantedRegistration(o.spec()), o.client != nil, documentURL, as)
	if err != nil {
		o.registrationFailed(r.Clock.Now(), initialAccessToken{}, err)
		return nil
	}
	switch method {
	case mcpoauth.Preregistered:
		o.usePreregistered(r.Clock.Now())
	case mcpoauth.MetadataDocument:
		if err := r.useMetadataDocument(ctx, o, documentURL); err != nil {
			return err
		}
	case mcpoauth.Dynamic:
		if err := keyNotRegistered(o.observed, documentURL); err != nil {
			o.registrationFailed(r.Clock.Now(), initialAccessToken{}, err)
			return nil
		}
		return r.registerDynamic(ctx, o)
	}
	if o.registered != nil {
		o.failures.clear(stepRegister)
	}
	return nil
}

func wantedRegistration(spec *v1alpha1.MCPConnectionSpec) mcpoauth.RegistrationMethod {
	if want := clientSpec(spec).Registration; want != v1alpha1.RegistrationAuto {
		return mcpoauth.RegistrationMethod(want)
	}
	return ""
}

func (r *Reconciler) registerDynamic(ctx context.Context, o *work) error {
	as, now := o.discovery.AuthorizationServer, r.Clock.Now()
	if c := o.credential(); c != nil {
		known := c.Registration(as.Issuer, o.redirectURI())
		switch asked := o.reauthorizeAsked(); {
		case known == nil, o.refusesClients() && asked:
		case usableRegistration(known, c.Authorization.Offer, now):
			o.registered = &known.Client
			o.failures.clear(stepRegister)
			return nil
		case known.Renewals >= maxRenewals && !known.Completed && !asked:
			o.recordFailure(stepRegister, v1alpha1.ReasonRegistrationFailing, "The secret of the client "+known.Client.ClientID+
				" expires, as those of the clients before it did, and nobody has followed a link to the end; no further client is registered. To have a link again, set the annotation "+
				v1alpha1.AnnotationReauthorize, now, func(int32) time.Time { return time.Time{} })
			return nil
		}
	}
	return r.withSlot(o, as.RegistrationEndpoint, func() error { return r.registerAnew(ctx, o) })
}

// usableRegistration says whether a stored client can begin a consent: its secret outlives the link, and the server
// has probably not forgotten it.
func usableRegistration(known *credential.Registration, offer *credential.Offer, now time.Time) bool {
	expires, consents := known.Client.SecretExpiresAt, known.ExpiredConsents
	if expiredFor(known, offer, now) {
		consents++ // startAuthorization counts it
	}
	return (consents < maxExpiredConsents || known.Renewals >= maxRenewals) && !updateDue(&known.Client, now) && (expires.IsZero() || now.Add(credential.TicketLifetime).Before(expires))
}

func clientName(spec v1alpha1.ClientSpec) string {
	if spec.Name != "" {
		return spec.Name
	}
	return v1alpha1.ManagedBy
}

func registrationRequest(o *observed) mcpoauth.RegistrationRequest {
	spec, as := clientSpec(o.spec()), o.discovery.AuthorizationServer
	return mcpoauth.RegistrationRequest{
		Endpoint: as.RegistrationEndpoint, RedirectURI: o.redirectURI(),
		ClientName: clientName(spec), ClientURI: spec.URI, LogoURI: spec.LogoURI,
		Scopes:      requestedScopes(o),
		AuthMethods: as.TokenEndpointAuthMethodsSupported, AuthMethod: mcpoauth.AuthMethod(spec.AuthMethod),
		DPoPBound: o.discovery.DPoPRequired,
	}
}

// startAuthorization offers a link. Everything that a later request needs is fixed and saved with it.
func (r *Reconciler) startAuthorization(ctx context.Context, o *work) error {
	now := r.Clock.Now()
	request := requestOf(o.conn, v1alpha1.AnnotationReauthorize)
	if o.issuerChanged() {
		o.stopAtChangedIssuer(now, stepStartAuthorization)
		return nil
	}
	if o.externalURL == "" {
		o.handled.Reauthorize = request
		o.recordFailure(stepStartAuthorization, v1alpha1.ReasonConsentUnavailable,
			"A person's consent is needed, but the operator has no address for the callback: start it with --external-url.", now,
			func(int32) time.Time { return time.Time{} })
		return nil
	}
	b := binding(o.observed)
	if err := mcpoauth.CheckAuthorizationEndpoint(b.AuthorizationRequest("", "")); err != nil { // a link that cannot work is not offered
		o.fail(r.Clock.Now(), stepStartAuthorization, err, "")
		return nil
	}
	expired := o.offer() != nil && !now.Before(o.offer().ExpiresAt)
	offer := credential.Offer{
		Ticket: credential.NewTicket(o.conn.UID), ExpiresAt: linkExpiry(o.registered, now),
		SpecHash: bindingHash(o.spec()), Reauthorize: reauthorizeFor(o.observed), Binding: b,
	}
	if err := r.update(ctx, o, func(c *credential.Credential) error {
		countExpired(c, now)
		c.Authorization.Replace(offer)
		o.keep(c, v1alpha1.AnnotationReauthorize)
		return nil
	}); err != nil {
		return fmt.Errorf("saving the offer of consent: %w", err)
	}
	if expired {
		consents.WithLabelValues(outcomeExpired).Inc()
	}
	o.failures.clear(stepStartAuthorization)
	o.handled.Reauthorize = request
	return nil
}

// linkExpiry is when a link is replaced: after its lifetime, or with a client whose secret would expire while it is open.
func linkExpiry(client *mcpoauth.ClientRegistration, now time.Time) time.Time {
	at := now.Add(credential.TicketLifetime)
	if update := updateMoment(client); update.After(now) && update.Before(at) {
		at = update
	}
	return at.Truncate(time.Second)
}

// reauthorizeFor is the annotation value that an offer answers; empty if a person's consent is wanted anyway.
func reauthorizeFor(o *observed) string {
	if value, is := asked(o.conn, v1alpha1.AnnotationReauthorize, o.handled.Reauthorize); is {
		return value
	}
	if offer := o.offer(); offer != nil {
		return offer.Reauthorize
	}
	return ""
}

// countExpired notes that somebody opened the link of a registration, and that it expired all the same.
func countExpired(c *credential.Credential, now time.Time) {
	offer := c.Authorization.Offer
	if offer == nil {
		return
	}
	if known := c.Registration(offer.Binding.Issuer, offer.Binding.RedirectURI); known != nil && expiredFor(known, offer, now) {
		known.ExpiredConsents++
	}
}

// expiredFor says whether a link that somebody opened has expired and belongs to this registration, not to one before it.
func expiredFor(known *credential.Registration, offer *credential.Offer, now time.Time) bool {
	return offer != nil && offer.Opened && !now.Before(offer.ExpiresAt) && offer.Binding.Client.ClientID == known.Client.ClientID
}

func binding(o *observed) credential.Binding {
	as, compat := o.discovery.AuthorizationServer, compatibility(o.spec())
	b := credential.Binding{
		ServerURL: o.conn.Spec.ServerURL, Issuer: as.Issuer, GrantType: grantTypeOf(o.spec()),
		Unlisted: o.discovery.Unlisted != "", IssParameterSupported: as.AuthorizationResponseIssParameterSupported,
		AuthorizationEndpoint: as.AuthorizationEndpoint, TokenEndpoint: as.TokenEndpoint,
		RegistrationEndpoint: as.RegistrationEndpoint, RevocationEndpoint: as.RevocationEndpoint, Documented: as.Documented,
		Client: *o.registered, RedirectURI: o.redirectURI(), Scopes: requestedScopes(o),
		ResourceIdentifier: o.discovery.Resource, Resource: resourceParameter(compat.Resource, o.discovery.Resource),
		Parameters: texts(compat.AuthorizationParameters),
	}
	if o.discovery.DPoPRequired {
		b.DPoPJWK = o.dpopJWK()
	}
	return b
}

func resourceParameter(spec *v1alpha1.ResourceSpec, discovered string) string {
	switch {
	case spec == nil || spec.Mode == v1alpha1.ResourceModeAuto || spec.Mode == "":
		return discovered
	case spec.Mode == v1alpha1.ResourceModeExplicit:
		return spec.Value
	}
	return ""
}

// endAuthorization withdraws a link that nobody needs any more.
func (r *Reconciler) endAuthorization(ctx context.Context, o *work) error {
	return r.update(ctx, o, func(c *credential.Credential) error {
		c.Authorization.Withdraw()
		return nil
	})
}
