package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// reference reads a referenced Secret, live, once in a reconcile; nil without an error if there is none.
func (r *Reconciler) reference(ctx context.Context, w *work, name, field string) (*lifecycle.Reference, error) {
	secret, known := w.References[name]
	if !known {
		secret = &corev1.Secret{}
		err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: w.Conn.Namespace, Name: name}, secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the Secret of %s: %w", field, err)
		}
		if w.References == nil {
			w.References = map[string]*corev1.Secret{}
		}
		w.References[name] = secret
	}
	if secret.ResourceVersion == "" || slices.Contains(lifecycle.OwnSecrets, secret.Labels[v1alpha1.LabelSecretType]) {
		return nil, nil // what the operator keeps is nobody's to refer to, not even beside it
	}
	return &lifecycle.Reference{Secret: secret, Field: field}, nil
}

// absent says that an object which the spec names is not there, and what to do about that.
func absent(kind, name, field, namespace, remedy string) string {
	return fmt.Sprintf("The %s %s, named by %s, does not exist in namespace %s; %s.", kind, name, field, namespace, remedy)
}

// valueOf is one key of a referenced Secret, less the line break that editors and files put at the end. wrong says what
// nobody may send outside, a token of this cluster, and what no credential has: other control characters, or white
// space at either end. It is empty for all else.
func (r *Reconciler) valueOf(ctx context.Context, ref *lifecycle.Reference,
	key string) (value, wrong string, err error) {
	if isClusterSecret(ref.Secret) {
		return "", fmt.Sprintf("The Secret %s, named by %s, is of type %s: it opens this cluster's own API server, so "+
			"nothing of it is sent outside. Name another Secret.", ref.Name, ref.Field, ref.Type), nil
	}
	value = lifecycle.Trimmed(ref.Data[key])
	if strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
		return value, fmt.Sprintf("The key %s of the Secret %s, named by %s, holds control characters, or white space at "+
				"its beginning or end. Write it anew without; one line break at the end does no harm.", key, ref.Name, ref.Field),
			nil
	}
	of, err := r.isClusterToken(ctx, value)
	if of {
		return "", fmt.Sprintf("The key %s of the Secret %s, named by %s, holds a token of this cluster's own API server, "+
			"so it is not sent outside. Put there what the authorization server expects.", key, ref.Name, ref.Field), nil
	}
	return value, "", err
}

// readClient reads client credentials. What is wrong with them is told by the result, not by an error.
func (r *Reconciler) readClient(ctx context.Context, w *work, name, field string) (*lifecycle.ReferencedClient, error) {
	ref, err := r.reference(ctx, w, name, field)
	if err != nil {
		return nil, err
	}
	if ref == nil {
		missing := absent("Secret", name, field, w.Conn.Namespace, "create it with the key client_id, and client_secret "+
			"or private_key")
		return &lifecycle.ReferencedClient{Missing: w.WithRedirectURI(missing)}, nil
	}
	c, values := &lifecycle.ReferencedClient{Holder: ref.Holder()}, map[string]string{}
	for _, key := range []string{lifecycle.KeyClientID, lifecycle.KeyClientSecret, lifecycle.KeyKeyID} {
		if values[key], c.Missing, err = r.valueOf(ctx, ref, key); err != nil || c.Missing != "" {
			return c, err
		}
	}
	c.ID, c.Secret = values[lifecycle.KeyClientID], values[lifecycle.KeyClientSecret]
	if c.ID == "" {
		c.Missing = fmt.Sprintf("The Secret %s, named by %s, has no key client_id; add it.", name, field)
		return c, nil
	}
	if pem := ref.Data[lifecycle.KeyPrivateKey]; len(pem) > 0 {
		if c.Key, err = mcpoauth.ParseSigningKey(pem, values[lifecycle.KeyKeyID]); err != nil {
			c.Missing = fmt.Sprintf("In the Secret %s, named by %s, %s.", name, field, strings.TrimSuffix(err.Error(), "."))
		}
	}
	return c, nil
}

// referencedClient reads what client.credentialsSecretRef refers to; nil if the spec names none.
func (r *Reconciler) referencedClient(ctx context.Context, w *work) (*lifecycle.ReferencedClient, error) {
	ref := lifecycle.ClientSpec(w.Spec()).CredentialsSecretRef
	if ref == nil {
		return nil, nil
	}
	return r.readClient(ctx, w, ref.Name, lifecycle.FieldClient)
}

// retryWithNewInputs reads what a server may have refused, and has the steps tried now that failed with what is not
// there any more.
func (r *Reconciler) retryWithNewInputs(ctx context.Context, w *work) error {
	for field, name := range w.ReferencesInUse() {
		if _, err := r.reference(ctx, w, name, field); err != nil {
			return err
		}
	}
	w.NoteInputs()
	for i := range w.Failures {
		if refused := lifecycle.RefusedInputs(w.Failures[i]); refused != "" && refused != w.Inputs {
			w.Failures[i].Attempts, w.Failures[i].RetryAt = 1, lifecycle.TimeOf(r.Clock.Now().Truncate(time.Second))
		}
	}
	return nil
}
