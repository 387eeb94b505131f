package controller

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// registerAnew registers a client and saves it before it is used. An initial access token may be good for one client, and
// nobody else could delete one that was forgotten: a lost lease or a stop ends neither halfway.
func (r *Reconciler) registerAnew(ctx context.Context, o *observed) error {
	token, err := r.initialAccessToken(ctx, o)
	if err != nil {
		return err
	}
	if token.missing != "" {
		now := r.Clock.Now()
		o.recordFailure(stepRegister, v1alpha1.ReasonCredentialsMissing, token.missing, now, func(int32) time.Time { return now.Add(missingRetry) })
		return nil
	}
	request := registrationRequest(o)
	request.InitialAccessToken = token.value
	return r.spend(ctx, func(ctx context.Context) error {
		client, err := r.OAuth.For(o.conn.Spec.ServerURL).Register(ctx, request)
		if err != nil {
			r.registrationFailed(o, token, err)
			return nil
		}
		o.registered = client
		o.failures.clear(stepRegister)
		return r.save(ctx, o, func(c *credential.Credential) error {
			c.PutRegistration(credential.Registration{
				Issuer: o.discovery.AuthorizationServer.Issuer, RedirectURI: o.redirectURI(), Client: *client, CreatedAt: r.Clock.Now(),
			})
			return nil
		})
	})
}

// save is update for what must not be lost.
func (r *Reconciler) save(ctx context.Context, o *observed, mutate func(*credential.Credential) error) error {
	if o.held == nil {
		return r.update(ctx, o, mutate)
	}
	held, err := r.Store.Save(ctx, o.held, mutate)
	if err == nil {
		o.held = held
	}
	return err
}

// initialAccessToken is for a protected registration endpoint (RFC 7591, section 3).
type initialAccessToken struct {
	// value is empty where the spec names none.
	value string
	// where it is, for a person.
	where string
	// missing says what is not there; empty if all is.
	missing string
}

// initialAccessToken reads what client.initialAccessTokenSecretRef refers to, live.
func (r *Reconciler) initialAccessToken(ctx context.Context, o *observed) (initialAccessToken, error) {
	ref := clientSpec(o.spec()).InitialAccessTokenSecretRef
	if ref == nil {
		return initialAccessToken{}, nil
	}
	key := ref.Key
	if key == "" {
		key = "token"
	}
	t := initialAccessToken{where: fmt.Sprintf("key %s of the Secret %s", key, ref.Name)}
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.conn.Namespace, Name: ref.Name}, secret)
	t.value = strings.TrimSpace(string(secret.Data[key])) // files end with a line break
	switch {
	case apierrors.IsNotFound(err):
		t.missing = fmt.Sprintf("The Secret %s, named by spec.client.initialAccessTokenSecretRef, does not exist in namespace %s; create it with the initial access token in the key %s.", ref.Name, o.conn.Namespace, key)
	case err != nil:
		return t, fmt.Errorf("reading the Secret of spec.client.initialAccessTokenSecretRef: %w", err)
	case t.value == "":
		t.missing = fmt.Sprintf("The Secret %s, named by spec.client.initialAccessTokenSecretRef, has no key %s; add it with the initial access token.", ref.Name, key)
	}
	return t, nil
}

// registrationFailed notes why no client was registered. A token that was refused is named by its place.
func (r *Reconciler) registrationFailed(o *observed, token initialAccessToken, err error) {
	e := mcpoauth.AsError(err)
	if e == nil || e.Status != http.StatusUnauthorized || token.value == "" {
		r.fail(o, stepRegister, err, "")
		return
	}
	r.failAs(o, stepRegister, e, string(e.Code), sentence(e.Message)+" The initial access token is in the "+token.where+".")
}
