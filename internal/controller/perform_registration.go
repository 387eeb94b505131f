package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// registerAnew registers a client and saves it before it is used. An initial access token may be good for one client, and
// nobody else could delete one that was forgotten: a lost lease or a stop ends neither halfway.
func (r *Reconciler) registerAnew(ctx context.Context, o *work) error {
	token, err := r.initialAccessToken(ctx, o)
	if err != nil {
		return err
	}
	if token.missing != "" {
		o.unmet(r.Clock.Now(), stepRegister, unmet{v1alpha1.ReasonCredentialsMissing, token.missing})
		return nil
	}
	if as := &o.discovery.AuthorizationServer; token.value != "" {
		if err := token.holder.admits(destination{as.RegistrationEndpoint, as.Issuer, as.Documented}); err != nil {
			o.notMet(r.Clock.Now(), stepRegister, err)
			return nil
		}
	}
	request := registrationRequest(o.observed)
	request.InitialAccessToken = token.value
	return r.spend(ctx, o, func(ctx context.Context) error {
		client, err := r.OAuth.For(o.conn.Spec.ServerURL).Register(ctx, request)
		if err != nil {
			o.registrationFailed(r.Clock.Now(), token, err)
			return nil
		}
		client.UpdateAt = updateTime(o.conn.UID, r.Clock.Now(), client.SecretExpiresAt)
		o.registered = client
		o.failures.clear(stepRegister)
		err = r.save(ctx, o, func(c *credential.Credential) error {
			made := credential.Registration{
				Issuer: o.discovery.AuthorizationServer.Issuer, RedirectURI: o.redirectURI(), Client: *client, CreatedAt: r.Clock.Now(),
			}
			if old := c.Registration(made.Issuer, made.RedirectURI); old != nil && !old.Completed && !o.reauthorizeAsked() {
				made.Renewals = old.Renewals + 1
			}
			c.PutRegistration(made)
			return nil
		})
		if errors.Is(err, credential.ErrTooLarge) {
			r.registrationTooLarge(ctx, o, token, client)
			return nil
		}
		return err
	})
}

// initialAccessToken is for a protected registration endpoint (RFC 7591, section 3).
type initialAccessToken struct {
	// value is empty where the spec names none.
	value string
	// where it is, for a person.
	where string
	// missing says what is not there; empty if all is.
	missing string
	// holder is what it was read from.
	holder holder
}

// initialAccessToken reads what client.initialAccessTokenSecretRef refers to, live.
func (r *Reconciler) initialAccessToken(ctx context.Context, o *work) (initialAccessToken, error) {
	ref := clientSpec(o.spec()).InitialAccessTokenSecretRef
	if ref == nil {
		return initialAccessToken{}, nil
	}
	key := ref.Key
	if key == "" {
		key = "token"
	}
	t := initialAccessToken{where: fmt.Sprintf("key %s of the Secret %s", key, ref.Name)}
	secret, err := r.reference(ctx, o, ref.Name, "spec.client.initialAccessTokenSecretRef")
	if err != nil {
		return t, err
	}
	if secret == nil {
		t.missing = fmt.Sprintf("The Secret %s, named by spec.client.initialAccessTokenSecretRef, does not exist in namespace %s; create it with the initial access token in the key %s.", ref.Name, o.conn.Namespace, key)
		return t, nil
	}
	t.holder = secret.holder()
	if t.value, t.missing, err = r.valueOf(ctx, secret, key); err == nil && t.value == "" && t.missing == "" {
		t.missing = fmt.Sprintf("The Secret %s, named by spec.client.initialAccessTokenSecretRef, has no key %s; add it with the initial access token.", ref.Name, key)
	}
	return t, err
}

// withRedirectURI adds to a message that sends somebody to the console of an authorization server what has to be entered there.
func (o *observed) withRedirectURI(message string) string {
	uri := o.redirectURI()
	if uri == "" || o.unattended() || strings.Contains(message, uri) {
		return message
	}
	return sentence(message) + fmt.Sprintf(" The redirect URI to register there is %q", uri)
}

// updateRegistration has the server renew the client that refreshes the token (RFC 7592).
func (r *Reconciler) updateRegistration(ctx context.Context, o *work) error {
	return r.withSlot(o, o.grant().Client.RegistrationClientURI, func() error {
		return r.spend(ctx, o, func(ctx context.Context) error { return r.renewClient(ctx, o) })
	})
}

// renewClient sends the update and saves the answer in every place at once: the old secret may have ended with it.
func (r *Reconciler) renewClient(ctx context.Context, o *work) error {
	g := o.grant()
	old := g.Client
	spec := clientSpec(o.spec())
	renewed, err := r.OAuth.For(g.ServerURL).UpdateRegistration(ctx, mcpoauth.RegistrationRequest{
		RedirectURI: g.RedirectURI, ClientName: clientName(spec), ClientURI: spec.URI, LogoURI: spec.LogoURI, Scopes: g.Scopes, DPoPBound: g.DPoPJWK != "",
	}, &old)
	if err != nil {
		return r.renewalFailed(ctx, o, err)
	}
	renewed.UpdateAt = updateTime(o.conn.UID, r.Clock.Now(), renewed.SecretExpiresAt)
	if !renewed.SecretExpiresAt.IsZero() && !renewed.SecretExpiresAt.After(old.SecretExpiresAt) { // nothing is won
		renewed.UpdateAt, renewed.UpdateRefused = updateMoment(&old), true
	}
	err = r.saveClient(ctx, o, &old, renewed)
	if errors.Is(err, credential.ErrTooLarge) { // the old secret may have ended with it: another client takes its place
		return r.renewalFailed(ctx, o, tooLargeClient())
	}
	if err != nil {
		return fmt.Errorf("saving the updated registration: %w", err)
	}
	o.failures.clear(stepUpdateRegistration)
	return nil
}

// saveClient puts a client in place of the one of the current grant, wherever that is stored.
func (r *Reconciler) saveClient(ctx context.Context, o *work, old, renewed *mcpoauth.ClientRegistration) error {
	return onGrant(ctx, o, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if g.Client.ClientID != old.ClientID || g.Client.RegistrationAccessToken != old.RegistrationAccessToken {
			return claims.ErrLost
		}
		c.ReplaceClient(g.Issuer, *renewed)
		return nil
	})
}

// renewalFailed has the update tried again. Once the server refuses it, or fails until half of the time that is left is
// over, another client takes the place of this one.
func (r *Reconciler) renewalFailed(ctx context.Context, o *work, err error) error {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Kind: mcpoauth.Transient, Code: mcpoauth.RegistrationFailing, Message: "the registration could not be updated"}
	}
	old := o.grant().Client
	due := updateMoment(&old)
	if e.Kind == mcpoauth.Transient && r.Clock.Now().Before(due.Add(old.SecretExpiresAt.Sub(due)/2)) {
		o.failAs(r.Clock.Now(), stepUpdateRegistration, e, string(e.Code), "The client secret expires at "+old.SecretExpiresAt.UTC().Format(time.RFC3339)+
			"; renewing it fails and is retried: "+e.Message)
		return nil
	}
	refused := old
	refused.UpdateAt, refused.UpdateRefused = due, true
	if err := r.saveClient(ctx, o, &old, &refused); err != nil {
		return err
	}
	o.failures.clear(stepUpdateRegistration)
	o.notes = append(o.notes, note{warning: true, reason: "RegistrationUpdateFailed",
		message: "The client secret expires at " + old.SecretExpiresAt.UTC().Format(time.RFC3339) + " and was not renewed: " + e.Message})
	return nil
}

// registrationFailed notes why no client was registered. A token that was refused is named by its place.
func (o *observed) registrationFailed(now time.Time, token initialAccessToken, err error) {
	e := mcpoauth.AsError(err)
	if e == nil || (e.Code != mcpoauth.NoRegistrationMethod && e.Code != mcpoauth.RegistrationRefused) {
		o.fail(now, stepRegister, err, "")
		return
	}
	message := e.Message
	if e.Status == 401 && token.value != "" {
		message = sentence(message) + " The initial access token is in the " + token.where + "."
	}
	o.failAs(now, stepRegister, e, string(e.Code), o.withRedirectURI(message))
}
