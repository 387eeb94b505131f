package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds of what is stored, in bytes as it is encoded: one character of a token may take six.
const (
	// maxTokens of one grant, so that one server leaves room for others.
	maxTokens = 200 << 10
	// maxClient of a registration or a binding, of which there are many copies.
	maxClient = 32 << 10
	// maxSaved is how large an answer may make the Secret; the rest is kept for claims and consents.
	maxSaved = corev1.MaxSecretSize - 64<<10
)

// ErrTooLarge is returned for what can never be stored.
var ErrTooLarge = errors.New("it is too large to be stored")

// size is what the bounds are about.
type size struct{ total, tokens, client int }

// measure finds the largest parts of c.
func measure(c *Credential) size {
	var s size
	for i := range c.Grants {
		g := &c.Grants[i]
		s.tokens = max(s.tokens, encodedLen([]string{g.AccessToken, g.RefreshToken, g.TokenType}))
	}
	for _, r := range slices.Concat(c.Registrations, c.Retired) {
		s.client = max(s.client, encodedLen(r.Client))
	}
	c.bindings(func(b *Binding) { s.client = max(s.client, encodedLen(b.Client)) })
	return s
}

// in is s with the size of a whole Secret.
func (s size) in(secret *corev1.Secret) size {
	s.total = 0
	for _, value := range secret.Data {
		s.total += len(value)
	}
	return s
}

// bounded fails for what exceeds a bound. What did so before, as an earlier version wrote it, may shrink.
func bounded(before, after size, maxTotal int) error {
	for _, part := range []struct {
		name               string
		before, after, max int
	}{
		{"the tokens of the grant", before.tokens, after.tokens, maxTokens},
		{"the client credentials", before.client, after.client, maxClient},
		{"all that is stored for the connection", before.total, after.total, maxTotal},
	} {
		if part.after > part.max && part.after > part.before {
			return refusal{fmt.Errorf("%w: %s would take %d bytes, and may take %d", ErrTooLarge, part.name, part.after,
				part.max)}
		}
	}
	return nil
}

// refusedForSize reports whether the API server says that a Secret is too large, and not that something else is wrong
// with it.
func refusedForSize(err error) bool {
	if apierrors.IsRequestEntityTooLargeError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeTooLong && c.Field == "data"
	})
}

func encodedLen(value any) int {
	raw, err := marshalValue(value)
	if err != nil {
		return 0
	}
	return len(raw)
}

// marshalValue encodes without the escapes for HTML, which make six bytes of one.
func marshalValue(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
