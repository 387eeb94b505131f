package lifecycle

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// publishing goes on while the connection is suspended only to take a withdrawn token away.
func publishing(s *State, now time.Time) []Task {
	if !s.tokenSecretOutdated() && !s.contested(now) {
		return nil
	}
	t, g := dueNow(StepPublish), s.Grant()
	t.waits = s.suspended() && (g == nil || g.Revoke == "")
	return []Task{t}
}

// ContestedFailure reports whether a publication fails because others change what was written.
func ContestedFailure(f *v1alpha1.Failure) bool {
	return f != nil && f.Step == string(StepPublish) && strings.HasPrefix(f.Inputs, "c")
}

// contested reports whether others may still be changing the token Secret.
func (s *State) contested(now time.Time) bool {
	return ContestedFailure(s.Failures.Find(StepPublish)) && s.Failures.waiting(StepPublish, now)
}

// Conflict notes that the token Secret's name is taken.
func (s *State) Conflict(now time.Time) {
	s.RecordFailure(StepPublish, v1alpha1.ReasonSecretConflict,
		fmt.Sprintf("The Secret %s exists and does not belong to this connection, so it is left alone. Delete it, or "+
			"choose another name in spec.tokenSecret.name.", s.Secret.Name),
		now, func(attempts int32) time.Time { return RefusedRetry(now, s.Conn.UID, StepPublish, attempts) })
	s.RememberSecret(false)
}

// Contest notes what others make of the token Secret, and who. It is put back now and then; refreshes go on.
func (s *State) Contest(now time.Time, found, desired *corev1.Secret) {
	message := "Something changes the Secret " + desired.Name + " after the operator has written it. Have it leave " +
		"alone what the operator writes"
	if fields := differences(found, desired); len(fields) > 0 {
		message += ": " + strings.Join(fields, ", ")
	} else if f := s.Failures.Find(StepPublish); f != nil {
		message = f.Message // found was as it should be this time
	}
	s.RecordFailure(StepPublish, v1alpha1.ReasonSecretWriteFailing, message, now, func(attempts int32) time.Time {
		return RefusedRetry(now, s.Conn.UID, StepPublish, attempts)
	})
	s.RememberSecret(true)
}

// RememberSecret ties the failed publication to the Secret and the token that it failed with.
func (s *State) RememberSecret(contested bool) {
	s.Failures.Find(StepPublish).Inputs = s.secretVersion(contested)
}

// SecretTaken reports whether somebody else has a Secret of the token Secret's name.
func (s *State) SecretTaken() bool {
	return s.Secret != nil && OwnerOf(s.Secret, s.Conn, s.OwnerGone) == ownedByOthers
}

// nowhereToPublish reports whether a consent would be in vain, since the token Secret's name is taken and nothing was
// ever published.
func (s *State) nowhereToPublish() bool {
	return s.SecretTaken() && s.Offer() == nil && s.PublishedName == ""
}

// secretVersion stands for the live token Secret and the token to be published. A publication that was refused is tried
// at once under another one. Where others change what was written, every version is another one, and only a new token
// counts.
func (s *State) secretVersion(contested bool) string {
	var version []string
	if g := s.Grant(); g != nil {
		version = append(version, issuedAt(g), g.Revoke)
	}
	if contested {
		return "c" + credential.Hash(strings.Join(version, " "))[:12]
	}
	if s.Secret != nil {
		version = append(version, string(s.Secret.UID), s.Secret.ResourceVersion)
	}
	return "r" + credential.Hash(strings.Join(version, " "))[:12]
}

// RetryPublish has a publication tried now that was refused for what is not there any more.
func (s *State) RetryPublish(now time.Time) {
	f := s.Failures.Find(StepPublish)
	if f == nil {
		return
	}
	if before := f.Inputs; before != "" && before != s.secretVersion(strings.HasPrefix(before, "c")) {
		f.RetryAt = TimeOf(now.Truncate(time.Second))
	}
}
