package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// registerAnew registers a client and saves it before it is used. An initial access token may be good for one client,
// and nobody else could delete one that was forgotten: a lost lease or a stop ends neither halfway.
func (r *Reconciler) registerAnew(ctx context.Context, w *work) error {
	token, err := r.initialAccessToken(ctx, w)
	if err != nil {
		return err
	}
	if token.Missing != "" {
		w.NotePrecondition(r.Clock.Now(), lifecycle.StepRegister, lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing,
			Message: token.Missing})
		return nil
	}
	if as := &w.Discovery.AuthorizationServer; token.Value != "" {
		if err := token.Holder.Admits(lifecycle.Destination{Endpoint: as.RegistrationEndpoint, Issuer: as.Issuer,
			Documented: as.Documented}); err != nil {
			w.NoteUnmet(r.Clock.Now(), lifecycle.StepRegister, err)
			return nil
		}
	}
	request := lifecycle.RegistrationRequest(w.State)
	request.InitialAccessToken = token.Value
	return r.spend(ctx, w, func(ctx context.Context) error {
		client, err := r.OAuth.For(w.Conn.Spec.ServerURL).Register(ctx, request)
		if err != nil {
			w.RegistrationFailed(r.Clock.Now(), token, err)
			return nil
		}
		client.UpdateAt = lifecycle.UpdateTime(w.Conn.UID, r.Clock.Now(), client.SecretExpiresAt)
		w.Registered = client
		w.Failures.Clear(lifecycle.StepRegister)
		err = r.save(ctx, w, func(c *credential.Credential) error {
			made := credential.Registration{
				Issuer: w.Discovery.AuthorizationServer.Issuer, RedirectURI: w.RedirectURI(), Client: *client,
				CreatedAt: r.Clock.Now(),
			}
			if old := c.Registration(made.Issuer, made.RedirectURI); old != nil && !old.Completed && !w.ReauthorizeAsked() {
				made.Renewals = old.Renewals + 1
			}
			c.PutRegistration(made)
			return nil
		})
		if errors.Is(err, credential.ErrTooLarge) {
			r.registrationTooLarge(ctx, w, token, client)
			return nil
		}
		return err
	})
}

// initialAccessToken reads what client.initialAccessTokenSecretRef refers to, live.
func (r *Reconciler) initialAccessToken(ctx context.Context, w *work) (lifecycle.InitialAccessToken, error) {
	ref := lifecycle.ClientSpec(w.Spec()).InitialAccessTokenSecretRef
	if ref == nil {
		return lifecycle.InitialAccessToken{}, nil
	}
	key := ref.Key
	if key == "" {
		key = "token"
	}
	t := lifecycle.InitialAccessToken{Where: fmt.Sprintf("key %s of the Secret %s", key, ref.Name)}
	secret, err := r.reference(ctx, w, ref.Name, "spec.client.initialAccessTokenSecretRef")
	if err != nil {
		return t, err
	}
	if secret == nil {
		t.Missing = absent("Secret", ref.Name, "spec.client.initialAccessTokenSecretRef", w.Conn.Namespace,
			"create it with the initial access token in the key "+key)
		return t, nil
	}
	t.Holder = secret.Holder()
	if t.Value, t.Missing, err = r.valueOf(ctx, secret, key); err == nil && t.Value == "" && t.Missing == "" {
		t.Missing = fmt.Sprintf("The Secret %s, named by spec.client.initialAccessTokenSecretRef, has no key %s; add it "+
			"with the initial access token.", ref.Name, key)
	}
	return t, err
}

// updateRegistration has the server renew the client that refreshes the token (RFC 7592).
func (r *Reconciler) updateRegistration(ctx context.Context, w *work) error {
	return r.withSlot(w, w.Grant().Client.RegistrationClientURI, func() error {
		return r.spend(ctx, w, func(ctx context.Context) error { return r.renewClient(ctx, w) })
	})
}

// renewClient sends the update and saves the answer in every place at once: the old secret may have ended with it.
func (r *Reconciler) renewClient(ctx context.Context, w *work) error {
	g := w.Grant()
	old := g.Client
	spec := lifecycle.ClientSpec(w.Spec())
	renewed, err := r.OAuth.For(g.ServerURL).UpdateRegistration(ctx, mcpoauth.RegistrationRequest{
		RedirectURI: g.RedirectURI, ClientName: lifecycle.ClientName(spec), ClientURI: spec.URI, LogoURI: spec.LogoURI,
		Scopes: g.Scopes, DPoPBound: g.DPoPJWK != "",
	}, &old)
	if err != nil {
		return r.renewalFailed(ctx, w, err)
	}
	renewed.UpdateAt = lifecycle.UpdateTime(w.Conn.UID, r.Clock.Now(), renewed.SecretExpiresAt)
	if !renewed.SecretExpiresAt.IsZero() && !renewed.SecretExpiresAt.After(old.SecretExpiresAt) { // nothing is won
		renewed.UpdateAt, renewed.UpdateRefused = lifecycle.UpdateMoment(&old), true
	}
	err = r.saveClient(ctx, w, &old, renewed)
	if errors.Is(err, credential.ErrTooLarge) { // the old secret may have ended with it: another client takes its place
		return r.renewalFailed(ctx, w, tooLargeClient())
	}
	if err != nil {
		return fmt.Errorf("saving the updated registration: %w", err)
	}
	w.Failures.Clear(lifecycle.StepUpdateRegistration)
	return nil
}

// saveClient puts a client in place of the one of the current grant, wherever that is stored.
func (r *Reconciler) saveClient(ctx context.Context, w *work, old, renewed *mcpoauth.ClientRegistration) error {
	return onGrant(ctx, w, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if g.Client.ClientID != old.ClientID || g.Client.RegistrationAccessToken != old.RegistrationAccessToken {
			return claims.ErrLost
		}
		c.ReplaceClient(g.Issuer, *renewed)
		return nil
	})
}

// renewalFailed has the update tried again. Once the server refuses it, or fails until half of the time that is left is
// over, another client takes the place of this one.
func (r *Reconciler) renewalFailed(ctx context.Context, w *work, err error) error {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Kind: mcpoauth.Transient, Code: mcpoauth.RegistrationFailing,
			Message: "the registration could not be updated"}
	}
	old := w.Grant().Client
	due := lifecycle.UpdateMoment(&old)
	if e.Kind == mcpoauth.Transient && r.Clock.Now().Before(due.Add(old.SecretExpiresAt.Sub(due)/2)) {
		w.FailAs(r.Clock.Now(), lifecycle.StepUpdateRegistration, e, string(e.Code), "The client secret expires at "+
			old.SecretExpiresAt.UTC().Format(time.RFC3339)+
			"; renewing it fails and is retried: "+e.Message)
		return nil
	}
	refused := old
	refused.UpdateAt, refused.UpdateRefused = due, true
	if err := r.saveClient(ctx, w, &old, &refused); err != nil {
		return err
	}
	w.Failures.Clear(lifecycle.StepUpdateRegistration)
	w.Notes = append(w.Notes, lifecycle.Note{Warning: true, Reason: "RegistrationUpdateFailed",
		Message: "The client secret expires at " + old.SecretExpiresAt.UTC().Format(time.RFC3339) + " and was not renewed: " +
			e.Message})
	return nil
}

// register finds the client for the discovered authorization server: one that the spec names, one that was registered
// before, or a new one. A new one is saved before it is used.
func (r *Reconciler) register(ctx context.Context, w *work) error {
	if w.NonInteractive() {
		w.RegisterNonInteractive(r.Clock.Now())
		return nil
	}
	as := w.Discovery.AuthorizationServer
	documentURL := w.MetadataDocumentURL()
	method, err := mcpoauth.SelectRegistration(lifecycle.WantedRegistration(w.Spec()), w.Client != nil, documentURL, as)
	if err != nil {
		w.RegistrationFailed(r.Clock.Now(), lifecycle.InitialAccessToken{}, err)
		return nil
	}
	switch method {
	case mcpoauth.Preregistered:
		w.UsePreregistered(r.Clock.Now())
	case mcpoauth.MetadataDocument:
		if err := r.useMetadataDocument(ctx, w, documentURL); err != nil {
			return err
		}
	case mcpoauth.Dynamic:
		if err := lifecycle.KeyNotRegistered(w.State, documentURL); err != nil {
			w.RegistrationFailed(r.Clock.Now(), lifecycle.InitialAccessToken{}, err)
			return nil
		}
		return r.registerDynamic(ctx, w)
	}
	if w.Registered != nil {
		w.Failures.Clear(lifecycle.StepRegister)
	}
	return nil
}

func (r *Reconciler) registerDynamic(ctx context.Context, w *work) error {
	as, now := w.Discovery.AuthorizationServer, r.Clock.Now()
	if c := w.Credential(); c != nil {
		known := c.Registration(as.Issuer, w.RedirectURI())
		switch asked := w.ReauthorizeAsked(); {
		case known == nil, w.RefusesClients() && asked:
		case lifecycle.UsableRegistration(known, c.Authorization.Offer, now):
			w.Registered = &known.Client
			w.Failures.Clear(lifecycle.StepRegister)
			return nil
		case known.Renewals >= lifecycle.MaxRenewals && !known.Completed && !asked:
			w.RecordFailure(lifecycle.StepRegister, v1alpha1.ReasonRegistrationFailing, "The secret of the client "+
				known.Client.ClientID+
				" expires, as those of the clients before it did, and nobody has followed a link to the end; no further client "+
				"is registered. To have a link again, set the annotation "+
				v1alpha1.AnnotationReauthorize, now, func(int32) time.Time { return time.Time{} })
			return nil
		}
	}
	return r.withSlot(w, as.RegistrationEndpoint, func() error { return r.registerAnew(ctx, w) })
}
