package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// finalize removes the token Secret, ends all grants at their servers, removes the credential Secret and lets the object go.
// It never waits for ever: what cannot be had within finalizeWithin is given up, with a warning.
func (r *Reconciler) finalize(ctx context.Context, o *work) error {
	e := r.ending(o)
	saving := o.saving != nil && e.revokes && !e.over(r.Clock.Now()) // what it brought is to be revoked too
	if e.revokes && !saving && !e.over(r.Clock.Now()) && !r.takeSlots(o, callsToEnd(o)) {
		return nil // waiting for a slot does not count
	}
	r.begun.note(o.conn.UID, e.begunAt)
	if saving {
		e.hold(v1alpha1.ReasonSecretWriteFailing, "An answer of a server cannot be saved yet", o.saving.err)
	}
	e.cannotRead(o)
	if err := r.deleteTokenSecrets(ctx, o, e); err != nil {
		return err
	}
	if e.revokes && !saving {
		r.endAtServers(ctx, o, e)
	}
	if len(e.holds) == 0 || e.over(r.Clock.Now()) {
		if err := r.deleteCredential(ctx, o, e); err != nil {
			return err
		}
	}
	if now := r.Clock.Now(); len(e.holds) > 0 && !e.over(now) {
		if err := r.saveEnding(ctx, o, e); err != nil {
			return err
		}
		r.holdUp(o, e, now)
		return nil
	}
	return r.letGo(ctx, o, e)
}

// endAtServers revokes all grants, then deletes all registrations.
func (r *Reconciler) endAtServers(ctx context.Context, o *work, e *ending) {
	r.revokeAll(ctx, o, e)
	if len(e.tokens) == 0 {
		r.unregisterAll(ctx, o, e)
	}
}

// ending says how far the end of a deleted connection has come.
func (r *Reconciler) ending(o *work) *ending {
	now := r.Clock.Now()
	e := &ending{begunAt: now, first: true, revokes: o.conn.Spec.DeletionPolicy != v1alpha1.DeletionPolicyOrphan}
	noted := []time.Time{r.begun.at(o.conn.UID)}
	if c := o.credential(); c != nil {
		noted = append(noted, c.Deletion.BegunAt)
		e.clients = len(c.Managed()) > 0
	}
	for _, at := range noted {
		if !at.IsZero() && !setBack(now, at) {
			e.first = false
			if at.Before(e.begunAt) {
				e.begunAt = at
			}
		}
	}
	return e
}

// callsToEnd are the URLs that are asked to end everything at the servers.
func callsToEnd(o *work) []string {
	c := o.credential()
	if c == nil {
		return nil
	}
	var urls []string
	for i := range c.Grants {
		if g := &c.Grants[i]; len(tokensOf(g)) > 0 && g.RevocationEndpoint != "" {
			urls = append(urls, g.RevocationEndpoint)
		}
	}
	for _, registration := range c.Managed() {
		urls = append(urls, registration.Client.RegistrationClientURI)
	}
	return urls
}

// observeEnd reads what the end of a connection needs. What cannot be read holds up nothing for ever: finalize sees to that.
func (r *Reconciler) observeEnd(ctx context.Context, o *work) error {
	o.failures.clear(stepObserve)
	if err := r.readCredential(ctx, o); err != nil {
		o.unread = err
	}
	missed := r.observeTokenSecret(ctx, o)
	var err error
	if o.client, err = r.referencedClient(ctx, o); err != nil {
		missed = errors.Join(missed, err)
	}
	missed = errors.Join(missed, r.observeSigningKey(ctx, o))
	if missed != nil && ctx.Err() == nil {
		log.FromContext(ctx).Info("Something of a deleted connection cannot be read", "reason", missed.Error())
	}
	return ctx.Err()
}

// takeSlots reports whether the namespace and all hosts of the URLs have a free slot; else the step is tried again soon.
func (r *Reconciler) takeSlots(o *work, urls []string) bool {
	if o.pass == nil {
		return true // not in a reconcile
	}
	for _, url := range urls {
		if !r.mayAsk(o, url, slots.Ordinary) {
			return false
		}
	}
	return true
}

// revokeAll revokes all tokens that are left: each at least once, and again what may heal while there is time.
func (r *Reconciler) revokeAll(ctx context.Context, o *work, e *ending) {
	if o.held == nil {
		return
	}
	for i := range o.held.Grants {
		g := &o.held.Grants[i]
		var told bool
		for _, t := range tokensOf(g) {
			again, err := r.endToken(ctx, o, g, t, e)
			switch {
			case again:
				e.tokens = append(e.tokens, t.value)
				e.hold(v1alpha1.ReasonTokenRequestFailing, "Revoking the grant fails", err)
				continue
			case err != nil && !told:
				told = true
				e.notes = append(e.notes, notRevoked(err))
			}
			e.done = append(e.done, t.value)
		}
	}
}

// endToken tries to revoke one token, and says whether it is to be tried again.
func (r *Reconciler) endToken(ctx context.Context, o *work, g *credential.Grant, t heldToken, e *ending) (again bool, err error) {
	most := claims.SendBy
	if !e.first {
		most = min(most, e.tokensUntil().Sub(r.Clock.Now()))
	}
	if most <= 0 {
		return false, fmt.Errorf("the authorization server %s did not do it in time", g.Issuer)
	}
	hurried, err := r.tryToEnd(ctx, o, g.RevocationEndpoint, most, func(ctx context.Context) error { return r.revokeToken(ctx, o, g, t) })
	return !hurried && transient(err) && !e.tokensGivenUp(r.Clock.Now()), err
}

// tryToEnd makes one request, which may take no longer than most, and less at a host that made others wait in vain: then it is
// hurried, and not to be tried again.
func (r *Reconciler) tryToEnd(ctx context.Context, o *work, url string, most time.Duration, request func(context.Context) error) (hurried bool, err error) {
	start, host := r.Clock.Now(), mcpoauth.Host(url)
	if hurried = r.hung.impatient(host, o.conn.UID, start); hurried {
		most = min(most, hurriedTry)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err = request(ctx)
	if err != nil && most >= claims.SendBy && r.Clock.Since(start) >= most {
		r.hung.note(host, o.conn.UID, start)
	}
	return hurried, err
}

func transient(err error) bool {
	e := mcpoauth.AsError(err)
	return e != nil && e.Kind == mcpoauth.Transient
}

// unregisterAll deletes all registrations, after the grants were revoked: a client that is gone can revoke nothing.
func (r *Reconciler) unregisterAll(ctx context.Context, o *work, e *ending) {
	if o.held == nil {
		return
	}
	e.unregistered = true
	end := r.Clock.Now().Add(unregisterWithin) // it is a worker's time too
	if end.After(e.until()) {
		end = e.until()
	}
	for _, registration := range o.held.Managed() {
		again, err := r.endRegistration(ctx, o, &registration, end)
		switch {
		case again && !e.over(r.Clock.Now()):
			e.registrations = append(e.registrations, registration)
			e.hold(v1alpha1.ReasonTokenRequestFailing, "Deleting the client fails", err)
		case err != nil:
			e.notes = append(e.notes, notUnregistered(err))
		}
	}
}

// endRegistration tries to delete one registration, and says whether it is to be tried again.
func (r *Reconciler) endRegistration(ctx context.Context, o *work, registration *credential.Registration, end time.Time) (again bool, err error) {
	most := min(claims.SendBy, end.Sub(r.Clock.Now()))
	if most <= 0 {
		return true, fmt.Errorf("the authorization server %s did not do it in time", registration.Issuer)
	}
	hurried, err := r.tryToEnd(ctx, o, registration.Client.RegistrationClientURI, most, func(ctx context.Context) error {
		return r.deleteRegistration(ctx, o, registration)
	})
	return !hurried && transient(err), err
}

// saveEnding notes what was done, and when it began: then none of it is done again, by whatever process.
func (r *Reconciler) saveEnding(ctx context.Context, o *work, e *ending) error {
	if o.held == nil {
		return nil
	}
	err := r.update(ctx, o, func(c *credential.Credential) error {
		c.Deletion.BegunAt = e.begunAt
		c.ForgetTokens(e.done)
		if e.unregistered {
			c.EndAll(e.registrations)
		}
		return nil
	})
	if err == nil || ctx.Err() != nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return err
	}
	log.FromContext(ctx).Info("How far a deletion has come cannot be noted", "reason", err.Error())
	return nil
}

// holdUp notes what holds the deletion up, until when, and what ends it now.
func (r *Reconciler) holdUp(o *work, e *ending, now time.Time) {
	o.notes = append(o.notes, e.notes...)
	until := timeOf(e.until())
	if len(e.tokens) > 0 {
		until = timeOf(e.tokensUntil())
	}
	message := e.text() + " It is tried again, and given up at " + until.UTC().Format(time.RFC3339) + ": then the object goes all the same."
	if len(e.tokens)+len(e.registrations) > 0 {
		message += " To end it now without that, set spec.deletionPolicy: Orphan"
	}
	o.recordFailure(stepFinalize, e.holds[0].reason, message, now, func(attempts int32) time.Time {
		at := retryTime(now, retryDelay(o.conn.UID, stepFinalize, attempts, mcpoauth.Transient), e.retryAfter, time.Time{})
		if at.After(until.Time) {
			return until.Time
		}
		return at
	})
}

// letGo takes the finalizer off. What is left is told.
func (r *Reconciler) letGo(ctx context.Context, o *work, e *ending) error {
	o.notes = append(append(o.notes, e.notes...), e.left...)
	r.Claims.Forget(o.conn.UID)
	r.begun.forget(o.conn.UID)
	r.strips.forget(o.conn.UID)
	r.edits.forget(o.conn.UID)
	if e.revokes && o.held != nil && (o.failures.has(stepFinalize) || slices.ContainsFunc(o.held.Grants, func(g credential.Grant) bool { return !g.Public })) {
		logChanges(ctx, client.ObjectKeyFromObject(o.conn).String(), []change{ended(o.notes)})
	}
	r.emit(o)
	if slices.Contains(o.conn.Finalizers, v1alpha1.Finalizer) { // else the object is held by others
		remaining := slices.DeleteFunc(slices.Clone(o.conn.Finalizers), func(f string) bool { return f == v1alpha1.Finalizer })
		if err := r.patchFinalizers(ctx, o.conn, remaining); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	o.conn = nil
	return nil
}
