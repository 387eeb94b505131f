package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// ReauthorizeAsked reports whether a person asks for a new consent now.
func (s *State) ReauthorizeAsked() bool {
	_, is := asked(s.Conn, v1alpha1.AnnotationReauthorize, s.Handled.Reauthorize)
	return is
}

// maxRequest is how long the value of a request annotation may be, in bytes: it is remembered in status. A challenge is
// remembered by its hash, and has the bound of all annotations.
const maxRequest = 128

// requestAnnotations are those whose values are remembered as they are.
var requestAnnotations = []string{v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationRevoke}

// RequestOf is the value of a request annotation as it is remembered: one that is too long by its hash.
func RequestOf(conn *v1alpha1.MCPConnection, annotation string) string {
	if value := conn.Annotations[annotation]; len(value) <= maxRequest {
		return value
	}
	return "sha256:" + credential.Hash(conn.Annotations[annotation])
}

// asked returns the value of a request annotation that has not been acted on yet. One that is too long asks for
// nothing.
func asked(conn *v1alpha1.MCPConnection, annotation, handled string) (string, bool) {
	value := RequestOf(conn, annotation)
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
	return requestedBeforeRefresh(conn) || unhandled(conn, v1alpha1.AnnotationRefresh)
}

// requestedBeforeRefresh is the same for all requests that come before a refresh.
func requestedBeforeRefresh(conn *v1alpha1.MCPConnection) bool {
	return unhandled(conn, v1alpha1.AnnotationReauthorize) || unhandled(conn, v1alpha1.AnnotationRevoke) ||
		ChallengeID(conn) != handledOf(conn).Challenge // also one that was taken off: it may be set again
}

func unhandled(conn *v1alpha1.MCPConnection, annotation string) bool {
	value, handled := RequestOf(conn, annotation), handledOf(conn)
	return value != "" && value != *requestHandled(&handled, annotation)
}

// handledOf is what status says was acted on.
func handledOf(conn *v1alpha1.MCPConnection) v1alpha1.LastHandled {
	if conn.Status.LastHandled == nil {
		return v1alpha1.LastHandled{}
	}
	return *conn.Status.LastHandled
}

// RecallHandled makes up for a status that was emptied, or never written: what the credential Secret remembers was
// done.
func (s *State) RecallHandled() {
	s.kept = s.Held.Handled
	for _, annotation := range requestAnnotations {
		if value := RequestOf(s.Conn, annotation); value != "" && credential.Hash(value) == *keptHandled(&s.kept,
			annotation) {
			*requestHandled(&s.Handled, annotation) = value
		}
	}
	if id := ChallengeID(s.Conn); id != "" && id == s.kept.Challenge {
		s.Handled.Challenge = id
	}
}

// Keep remembers in the credential Secret that the present value of an annotation was acted on, in the write that does
// it.
func (s *State) Keep(c *credential.Credential, annotation string) {
	if annotation == v1alpha1.AnnotationChallenge {
		c.Handled.Challenge = ChallengeID(s.Conn)
		return
	}
	if value := RequestOf(s.Conn, annotation); value != "" {
		*keptHandled(&c.Handled, annotation) = credential.Hash(value)
	}
}

// Keeping adds to a change of the credential Secret what was handled without a write of its own. What was found there
// and is no news is left alone: another process may have written something newer.
func (s *State) Keeping(mutate func(*credential.Credential) error) func(*credential.Credential) error {
	return func(c *credential.Credential) error {
		for _, annotation := range requestAnnotations {
			if value := *requestHandled(&s.Handled, annotation); value != "" && credential.Hash(value) != *keptHandled(&s.kept,
				annotation) {
				*keptHandled(&c.Handled, annotation) = credential.Hash(value)
			}
		}
		if id := s.Handled.Challenge; id != "" && id != s.kept.Challenge {
			c.Handled.Challenge = id
		}
		return mutate(c) // which may act on something newer, and keeps that
	}
}

// maxUnknown is how many unknown annotations are told of.
const maxUnknown = 16

// unknownAnnotations are those of this project's prefix on a connection that mean nothing there, in order; nil if there
// are none.
func unknownAnnotations(conn *v1alpha1.MCPConnection) []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(conn.Annotations)) {
		if strings.HasPrefix(name, v1alpha1.Prefix) && name != v1alpha1.AnnotationChallenge &&
			!slices.Contains(requestAnnotations, name) && len(unknown) < maxUnknown {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// RefuseLongRequests answers request annotations that are too long to be remembered. They are refused once.
func (s *State) RefuseLongRequests() {
	for _, annotation := range requestAnnotations {
		value, handled := RequestOf(s.Conn, annotation), requestHandled(&s.Handled, annotation)
		if n := len(s.Conn.Annotations[annotation]); n > maxRequest && value != *handled {
			*handled = value
			s.Notes = append(s.Notes, Note{Warning: true, Reason: "RequestRefused", Message: fmt.Sprintf(
				"The value of the annotation %s has %d bytes, so nothing was done. Set one of at most %d bytes, such "+
					"as the time.", annotation, n, maxRequest)})
		}
	}
}
