package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// format is the version of the layout below. A Secret with a newer one was written by a newer operator and is left
// alone.
const format = 1

// Keys of the credential Secret.
const (
	keyFormat        = "format"
	keyRegistrations = "registrations"
	keyRetired       = "retired"
	keyGrants        = "grants"
	keyNamed         = "named"
	keyAuthorization = "authorization"
	keySpent         = "spent"
	keyProbed        = "probed"
	keyHandled       = "handled"
	keyDeletion      = "deletion"
	keyWrites        = "writes"
)

// ErrNewerFormat is returned for a Secret that a newer operator wrote.
var ErrNewerFormat = errors.New("the credential Secret was written by a newer operator; upgrade this one")

// ErrCorrupt is returned for a Secret that cannot be decoded. Its text names the key, never the content.
var ErrCorrupt = errors.New("the credential Secret cannot be decoded")

func decode(secret *corev1.Secret) (*Credential, error) {
	if raw, ok := secret.Data[keyFormat]; ok {
		version, err := strconv.Atoi(string(raw))
		if err != nil {
			return nil, fmt.Errorf("%w: key %s", ErrCorrupt, keyFormat)
		}
		if version > format {
			return nil, ErrNewerFormat
		}
	}
	c := &Credential{}
	for key, into := range c.keys() {
		raw := secret.Data[key]
		if len(raw) == 0 {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("%w: key %s", ErrCorrupt, key)
		}
	}
	for i := range c.Grants {
		if g := &c.Grants[i]; g.DPoPJWK != "" && g.DPoPKey() == nil {
			// Without it the token would be sent as if it were not bound.
			return nil, fmt.Errorf("%w: key %s", ErrCorrupt, keyGrants)
		}
	}
	return c, nil
}

func (c *Credential) keys() map[string]any {
	return map[string]any{
		keyRegistrations: &c.Registrations, keyRetired: &c.Retired, keyGrants: &c.Grants, keyNamed: &c.Named,
		keyAuthorization: &c.Authorization, keySpent: &c.Spent, keyProbed: &c.ProbedAt, keyHandled: &c.Handled,
		keyDeletion: &c.Deletion, keyWrites: &c.Writes,
	}
}

// marshal is the data of c by key.
func marshal(c *Credential) (map[string][]byte, error) {
	data := map[string][]byte{}
	for key, from := range c.keys() {
		raw, err := marshalValue(from)
		if err != nil {
			return nil, fmt.Errorf("encoding key %s of the credential Secret: %w", key, err)
		}
		data[key] = raw
	}
	return data, nil
}

// encode writes c into secret and reports whether anything differs. A key that is as it was in before keeps its bytes:
// they may hold members that a newer version added.
func encode(c *Credential, secret *corev1.Secret, before map[string][]byte) (bool, error) {
	after, err := marshal(c)
	if err != nil {
		return false, err
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	changed := false
	for key, raw := range after {
		if !bytes.Equal(before[key], raw) {
			secret.Data[key] = raw
			changed = true
		}
	}
	if v := strconv.Itoa(format); string(secret.Data[keyFormat]) != v {
		secret.Data[keyFormat] = []byte(v)
		changed = true
	}
	return annotate(c, secret) || changed, nil
}

// annotate repeats in metadata what wakes the reconciler, so that nobody needs to read contents to find out.
func annotate(c *Credential, secret *corev1.Secret) bool {
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	changed := false
	for key, value := range map[string]string{
		AnnotationRevision: strconv.FormatInt(c.Authorization.Revision, 10),
		AnnotationHandled:  strconv.FormatInt(c.Authorization.Handled, 10),
		AnnotationWrites:   strconv.FormatInt(c.Writes, 10),
	} {
		if secret.Annotations[key] != value {
			secret.Annotations[key] = value
			changed = true
		}
	}
	return changed
}
