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
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// finalize removes the token Secret, ends all grants at their servers, removes the credential Secret and lets the
// object go. It never waits for ever: what cannot be had within finalizeWithin is given up, with a warning.
func (r *Reconciler) finalize(ctx context.Context, w *work) error {
	e := r.ending(w)
	saving := w.Saving != nil && e.revokes && !e.over(r.Clock.Now()) // what it brought is to be revoked too
	if e.revokes && !saving && !e.over(r.Clock.Now()) && !r.takeSlots(w, callsToEnd(w)) {
		return nil // waiting for a slot does not count
	}
	r.begun.note(w.Conn.UID, e.begunAt)
	if saving {
		e.hold(v1alpha1.ReasonSecretWriteFailing, "An answer of a server cannot be saved yet", w.Saving.Err)
	}
	e.cannotRead(w)
	if err := r.deleteTokenSecrets(ctx, w, e); err != nil {
		return err
	}
	if e.revokes && !saving {
		r.endAtServers(ctx, w, e)
	}
	if len(e.holds) == 0 || e.over(r.Clock.Now()) {
		if err := r.deleteCredential(ctx, w, e); err != nil {
			return err
		}
	}
	if now := r.Clock.Now(); len(e.holds) > 0 && !e.over(now) {
		if err := r.saveEnding(ctx, w, e); err != nil {
			return err
		}
		r.holdUp(w, e, now)
		return nil
	}
	return r.removeFinalizer(ctx, w, e)
}

// endAtServers revokes all grants, then deletes all registrations.
func (r *Reconciler) endAtServers(ctx context.Context, w *work, e *ending) {
	r.revokeAll(ctx, w, e)
	if len(e.tokens) == 0 {
		r.unregisterAll(ctx, w, e)
	}
}

// ending says how far the end of a deleted connection has come.
func (r *Reconciler) ending(w *work) *ending {
	now := r.Clock.Now()
	e := &ending{begunAt: now, first: true, revokes: w.Conn.Spec.DeletionPolicy != v1alpha1.DeletionPolicyOrphan}
	noted := []time.Time{r.begun.at(w.Conn.UID)}
	if c := w.Credential(); c != nil {
		noted = append(noted, c.Deletion.BegunAt)
		e.clients = len(c.Managed()) > 0
	}
	for _, at := range noted {
		if !at.IsZero() && !lifecycle.SetBack(now, at) {
			e.first = false
			if at.Before(e.begunAt) {
				e.begunAt = at
			}
		}
	}
	return e
}

// callsToEnd are the URLs that are asked to end everything at the servers.
func callsToEnd(w *work) []string {
	c := w.Credential()
	if c == nil {
		return nil
	}
	var urls []string
	for i := range c.Grants {
		if g := &c.Grants[i]; len(lifecycle.TokensOf(g)) > 0 && g.RevocationEndpoint != "" {
			urls = append(urls, g.RevocationEndpoint)
		}
	}
	for _, registration := range c.Managed() {
		urls = append(urls, registration.Client.RegistrationClientURI)
	}
	return urls
}

// observeEnd reads what the end of a connection needs. What cannot be read holds up nothing for ever: finalize sees to
// that.
func (r *Reconciler) observeEnd(ctx context.Context, w *work) error {
	w.Failures.Clear(lifecycle.StepObserve)
	if err := r.readCredential(ctx, w); err != nil {
		w.Unread = err
	}
	missed := r.observeTokenSecret(ctx, w)
	var err error
	if w.Client, err = r.referencedClient(ctx, w); err != nil {
		missed = errors.Join(missed, err)
	}
	missed = errors.Join(missed, r.observeSigningKey(ctx, w))
	if missed != nil && ctx.Err() == nil {
		log.FromContext(ctx).Info("Something of a deleted connection cannot be read", "reason", missed.Error())
	}
	return ctx.Err()
}

// takeSlots reports whether the namespace and all hosts of the URLs have a free slot; else the step is tried again
// soon.
func (r *Reconciler) takeSlots(w *work, urls []string) bool {
	if w.pass == nil {
		return true // not in a reconcile
	}
	for _, url := range urls {
		if !r.mayAsk(w, url, slots.Ordinary) {
			return false
		}
	}
	return true
}

// revokeAll revokes all tokens that are left: each at least once, and again what may heal while there is time.
func (r *Reconciler) revokeAll(ctx context.Context, w *work, e *ending) {
	if w.Held == nil {
		return
	}
	for i := range w.Held.Grants {
		g := &w.Held.Grants[i]
		var told bool
		for _, t := range lifecycle.TokensOf(g) {
			again, err := r.endToken(ctx, w, g, t, e)
			switch {
			case again:
				e.tokens = append(e.tokens, t.Value)
				e.hold(v1alpha1.ReasonTokenRequestFailing, "Revoking the grant fails", err)
				continue
			case err != nil && !told:
				told = true
				e.notes = append(e.notes, lifecycle.NotRevoked(err))
			}
			e.done = append(e.done, t.Value)
		}
	}
}

// endToken tries to revoke one token, and reports whether it is to be tried again.
func (r *Reconciler) endToken(ctx context.Context, w *work, g *credential.Grant, t lifecycle.HeldToken,
	e *ending) (again bool, err error) {
	most := claims.SendBy
	if !e.first {
		most = min(most, e.tokensUntil().Sub(r.Clock.Now()))
	}
	if most <= 0 {
		return false, fmt.Errorf("the authorization server %s did not do it in time", g.Issuer)
	}
	hurried, err := r.tryToEnd(ctx, w, g.RevocationEndpoint, most,
		func(ctx context.Context) error { return r.revokeToken(ctx, w, g, t) })
	return !hurried && transient(err) && !e.tokensGivenUp(r.Clock.Now()), err
}

// tryToEnd makes one request, which may take no longer than most, and less at a host that made others wait in vain:
// then it is hurried, and not to be tried again.
func (r *Reconciler) tryToEnd(ctx context.Context, w *work, url string, most time.Duration,
	request func(context.Context) error) (hurried bool, err error) {
	start, host := r.Clock.Now(), mcpoauth.Host(url)
	if hurried = r.hung.impatient(host, w.Conn.UID, start); hurried {
		most = min(most, hurriedTry)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err = request(ctx)
	if err != nil && most >= claims.SendBy && r.Clock.Since(start) >= most {
		r.hung.note(host, w.Conn.UID, start)
	}
	return hurried, err
}

func transient(err error) bool {
	e := mcpoauth.AsError(err)
	return e != nil && e.Kind == mcpoauth.Transient
}

// unregisterAll deletes all registrations, after the grants were revoked: a client that is gone can revoke nothing.
func (r *Reconciler) unregisterAll(ctx context.Context, w *work, e *ending) {
	if w.Held == nil {
		return
	}
	e.unregistered = true
	end := r.Clock.Now().Add(unregisterWithin) // it is a worker's time too
	if end.After(e.until()) {
		end = e.until()
	}
	for _, registration := range w.Held.Managed() {
		again, err := r.endRegistration(ctx, w, &registration, end)
		switch {
		case again && !e.over(r.Clock.Now()):
			e.registrations = append(e.registrations, registration)
			e.hold(v1alpha1.ReasonTokenRequestFailing, "Deleting the client fails", err)
		case err != nil:
			e.notes = append(e.notes, lifecycle.NotUnregistered(err))
		}
	}
}

// endRegistration tries to delete one registration, and reports whether it is to be tried again.
func (r *Reconciler) endRegistration(ctx context.Context, w *work, registration *credential.Registration,
	end time.Time) (again bool, err error) {
	most := min(claims.SendBy, end.Sub(r.Clock.Now()))
	if most <= 0 {
		return true, fmt.Errorf("the authorization server %s did not do it in time", registration.Issuer)
	}
	hurried, err := r.tryToEnd(ctx, w, registration.Client.RegistrationClientURI, most, func(ctx context.Context) error {
		return r.deleteRegistration(ctx, w, registration)
	})
	return !hurried && transient(err), err
}

// saveEnding notes what was done, and when it began: then none of it is done again, by whatever process.
func (r *Reconciler) saveEnding(ctx context.Context, w *work, e *ending) error {
	if w.Held == nil {
		return nil
	}
	err := r.update(ctx, w, func(c *credential.Credential) error {
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
func (r *Reconciler) holdUp(w *work, e *ending, now time.Time) {
	w.Notes = append(w.Notes, e.notes...)
	until := lifecycle.TimeOf(e.until())
	if len(e.tokens) > 0 {
		until = lifecycle.TimeOf(e.tokensUntil())
	}
	message := e.text() + " It is tried again, and given up at " + until.UTC().Format(time.RFC3339) +
		": then the object goes all the same."
	if len(e.tokens)+len(e.registrations) > 0 {
		message += " To end it now without that, set spec.deletionPolicy: Orphan"
	}
	w.RecordFailure(lifecycle.StepFinalize, e.holds[0].reason, message, now, func(attempts int32) time.Time {
		at := lifecycle.RetryTime(now, lifecycle.RetryDelay(w.Conn.UID, lifecycle.StepFinalize, attempts, mcpoauth.Transient),
			e.retryAfter, time.Time{})
		if at.After(until.Time) {
			return until.Time
		}
		return at
	})
}

// removeFinalizer takes the finalizer off. What is left is told.
func (r *Reconciler) removeFinalizer(ctx context.Context, w *work, e *ending) error {
	w.Notes = append(append(w.Notes, e.notes...), e.left...)
	r.Claims.Forget(w.Conn.UID)
	r.begun.forget(w.Conn.UID)
	r.strips.forget(w.Conn.UID)
	r.edits.forget(w.Conn.UID)
	if e.revokes && w.Held != nil && (w.Failures.Has(lifecycle.StepFinalize) ||
		slices.ContainsFunc(w.Held.Grants, func(g credential.Grant) bool { return !g.Public })) {
		logChanges(ctx, client.ObjectKeyFromObject(w.Conn).String(), []lifecycle.Change{lifecycle.Ended(w.Notes)})
	}
	r.emit(w)
	if slices.Contains(w.Conn.Finalizers, v1alpha1.Finalizer) { // else the object is held by others
		remaining := slices.DeleteFunc(slices.Clone(w.Conn.Finalizers),
			func(f string) bool { return f == v1alpha1.Finalizer })
		if err := r.patchFinalizers(ctx, w.Conn, remaining); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	w.Conn = nil
	return nil
}
