package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// maxCause bounds what is repeated of the API server's words, in bytes.
	maxCause = 400
	// minHidden is the length in bytes from which on a value of a Secret is looked for in a text.
	minHidden = 8
)

// WriteError is a write of a Secret that the API server did not do. Its text holds no value of the Secret, whatever a
// policy repeated of it.
type WriteError struct {
	// Verb is create, update or delete.
	Verb            string
	Namespace, Name string
	// Immutable is set if the Secret is, so that only a deletion changes it.
	Immutable bool
	cause     error
	hidden    []string
}

// NewWriteError wraps what the API server answered to the write of a Secret; nil if err is nil.
func NewWriteError(verb string, secret *corev1.Secret, err error) error {
	if err == nil {
		return nil
	}
	return &WriteError{
		Verb: verb, Namespace: secret.Namespace, Name: secret.Name, Immutable: immutable(err),
		cause: err, hidden: valuesOf(secret),
	}
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("cannot %s the Secret %s in namespace %s: %s", e.Verb, e.Name, e.Namespace, e.Cause())
}

// Unwrap gives the API server's answer, for apierrors.
func (e *WriteError) Unwrap() error { return e.cause }

// immutable reports whether the API server refused a change because the Secret is immutable.
func immutable(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseType(field.ErrorTypeForbidden) && (c.Field == "data" || c.Field == "immutable")
	})
}

// NamespaceMissing reports whether the namespace of the Secret does not exist.
func (e *WriteError) NamespaceMissing() bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(e.cause) && errors.As(e.cause, &status) && status.Status().Details != nil &&
		status.Status().Details.Kind == "namespaces"
}

// Cause is what the API server said, on one line, without a value of the Secret.
func (e *WriteError) Cause() string {
	text := e.cause.Error()
	for _, value := range e.hidden {
		text = strings.ReplaceAll(text, value, "(hidden)")
		text = strings.ReplaceAll(text, base64.StdEncoding.EncodeToString([]byte(value)), "(hidden)")
	}
	return mcpoauth.Sanitize(text, maxCause)
}

// valuesOf are the values in a Secret that a text must not repeat: whole values, and what stands in those that are
// JSON.
func valuesOf(secret *corev1.Secret) []string {
	var values []string
	add := func(value string) {
		if len(value) >= minHidden {
			values = append(values, value)
		}
	}
	for _, raw := range secret.Data {
		var document any
		if json.Unmarshal(raw, &document) == nil {
			textsIn(document, add)
		}
		add(string(raw))
	}
	return values
}

// textsIn calls add with every text in a decoded JSON document.
func textsIn(document any, add func(string)) {
	switch d := document.(type) {
	case string:
		add(d)
	case []any:
		for _, item := range d {
			textsIn(item, add)
		}
	case map[string]any:
		for _, item := range d {
			textsIn(item, add)
		}
	}
}
