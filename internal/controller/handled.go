package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// maxRequest is how long the value of a request annotation may be, in bytes: it is remembered in status. A challenge is
// remembered by its hash, and has the bound of all annotations.
const maxRequest = 128

// requestAnnotations are those whose values are remembered as they are.
var requestAnnotations = []string{v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationRevoke}

// requestOf is the value of a request annotation as it is remembered: one that is too long by its hash.
func requestOf(conn *v1alpha1.MCPConnection, annotation string) string {
	if value := conn.Annotations[annotation]; len(value) <= maxRequest {
		return value
	}
	return "sha256:" + credential.Hash(conn.Annotations[annotation])
}

// asked returns the value of a request annotation that has not been acted on yet. One that is too long asks for nothing.
func asked(conn *v1alpha1.MCPConnection, annotation, handled string) (string, bool) {
	value := requestOf(conn, annotation)
	return value, value != "" && value != handled && len(conn.Annotations[annotation]) <= maxRequest
}

// requestHandled is where the value of a request annotation that was acted on is remembered.
func requestHandled(h *v1alpha1.LastHandled, annotation string) *string {
	switch annotation {
	case v1alpha1.AnnotationReauthorize:
		return &h.Reauthorize
	case v1alpha1.AnnotationRefresh:
		return &h.Refresh
	}
	return &h.Revoke
}

// keptHandled is where the credential Secret remembers the same.
func keptHandled(h *credential.Handled, annotation string) *string {
	switch annotation {
	case v1alpha1.AnnotationReauthorize:
		return &h.Reauthorize
	case v1alpha1.AnnotationRefresh:
		return &h.Refresh
	case v1alpha1.AnnotationRevoke:
		return &h.Revoke
	}
	return &h.Challenge
}

// requested reports whether an annotation asks for something that has not been acted on.
func requested(conn *v1alpha1.MCPConnection) bool {
	return requestedBesideRefresh(conn) || unhandled(conn, v1alpha1.AnnotationRefresh)
}

// requestedBesideRefresh is the same for all requests that come before a refresh.
func requestedBesideRefresh(conn *v1alpha1.MCPConnection) bool {
	return unhandled(conn, v1alpha1.AnnotationReauthorize) || unhandled(conn, v1alpha1.AnnotationRevoke) ||
		challengeID(conn) != handledOf(conn).Challenge // also one that was taken off: it may be set again
}

func unhandled(conn *v1alpha1.MCPConnection, annotation string) bool {
	value, handled := requestOf(conn, annotation), handledOf(conn)
	return value != "" && value != *requestHandled(&handled, annotation)
}

// handledOf is what status says was acted on.
func handledOf(conn *v1alpha1.MCPConnection) v1alpha1.LastHandled {
	if conn.Status.LastHandled == nil {
		return v1alpha1.LastHandled{}
	}
	return *conn.Status.LastHandled
}

// recallHandled makes up for a status that was emptied, or never written: what the credential Secret remembers was done.
func (o *observed) recallHandled() {
	o.kept = o.held.Handled
	for _, annotation := range requestAnnotations {
		if value := requestOf(o.conn, annotation); value != "" && credential.Hash(value) == *keptHandled(&o.kept, annotation) {
			*requestHandled(&o.handled, annotation) = value
		}
	}
	if id := challengeID(o.conn); id != "" && id == o.kept.Challenge {
		o.handled.Challenge = id
	}
}

// keep remembers in the credential Secret that the present value of an annotation was acted on, in the write that does it.
func (o *observed) keep(c *credential.Credential, annotation string) {
	if annotation == v1alpha1.AnnotationChallenge {
		c.Handled.Challenge = challengeID(o.conn)
		return
	}
	if value := requestOf(o.conn, annotation); value != "" {
		*keptHandled(&c.Handled, annotation) = credential.Hash(value)
	}
}

// keeping adds to a change of the credential Secret what was handled without a write of its own. What was found there and is
// no news is left alone: another process may have written something newer.
func (o *observed) keeping(mutate func(*credential.Credential) error) func(*credential.Credential) error {
	return func(c *credential.Credential) error {
		if err := mutate(c); err != nil {
			return err
		}
		for _, annotation := range requestAnnotations {
			if value := *requestHandled(&o.handled, annotation); value != "" && credential.Hash(value) != *keptHandled(&o.kept, annotation) {
				*keptHandled(&c.Handled, annotation) = credential.Hash(value)
			}
		}
		if id := o.handled.Challenge; id != "" && id != o.kept.Challenge {
			c.Handled.Challenge = id
		}
		return nil
	}
}

// challengeTakenOff says whether the credential Secret remembers a challenge that was taken off: set again, it is a new request.
func (o *observed) challengeTakenOff() bool {
	c := o.credential()
	return c != nil && c.Handled.Challenge != "" && challengeID(o.conn) == ""
}

// forgetChallenge forgets a challenge that was taken off.
func (r *Reconciler) forgetChallenge(ctx context.Context, o *work) error {
	o.handled.Challenge = ""
	return r.update(ctx, o, func(c *credential.Credential) error {
		c.Handled.Challenge = ""
		return nil
	})
}

// maxUnknown is how many unknown annotations are told of.
const maxUnknown = 16

// unknownAnnotations are those of this project's prefix on a connection that mean nothing there, in order; nil if there are none.
func unknownAnnotations(conn *v1alpha1.MCPConnection) []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(conn.Annotations)) {
		if strings.HasPrefix(name, v1alpha1.Prefix) && name != v1alpha1.AnnotationChallenge && !slices.Contains(requestAnnotations, name) && len(unknown) < maxUnknown {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// unknownNotes are the events for unknown annotations that status does not tell of yet: one each.
func unknownNotes(before, now []string) []note {
	var notes []note
	for _, name := range lacking(now, before) {
		notes = append(notes, note{warning: true, reason: "UnknownAnnotation", message: fmt.Sprintf(
			"The annotation %s means nothing on an MCPConnection, so nothing is done. Those that do are %s, %s.", name, strings.Join(requestAnnotations, ", "), v1alpha1.AnnotationChallenge)})
	}
	return notes
}

// refuseLongRequests answers request annotations that are too long to be remembered. They are refused once.
func (o *observed) refuseLongRequests() {
	for _, annotation := range requestAnnotations {
		value, handled := requestOf(o.conn, annotation), requestHandled(&o.handled, annotation)
		if n := len(o.conn.Annotations[annotation]); n > maxRequest && value != *handled {
			*handled = value
			o.notes = append(o.notes, note{warning: true, reason: "RequestRefused", message: fmt.Sprintf(
				"The value of the annotation %s has %d bytes, so nothing was done. Set one of at most %d bytes, such as the time.", annotation, n, maxRequest)})
		}
	}
}
