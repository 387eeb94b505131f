package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// referencedGrant reads what importSecretRef refers to; nil if that is of no use.
func (r *Reconciler) referencedGrant(ctx context.Context, w *work) (*lifecycle.ImportedGrant, error) {
	if !w.MayImport() {
		return nil, nil
	}
	ref := w.Spec().ImportSecretRef
	secret, err := r.reference(ctx, w, ref.Name, "spec.importSecretRef")
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return &lifecycle.ImportedGrant{Missing: absent("Secret", ref.Name, "spec.importSecretRef", w.Conn.Namespace,
			"create it with the keys refresh_token, client_id and issuer, or remove the field to ask for a new consent")}, nil
	}
	values := map[string]string{}
	for _, key := range []string{"refresh_token", lifecycle.KeyClientID, "issuer", lifecycle.KeyClientSecret} {
		var wrong string
		if values[key], wrong, err = r.valueOf(ctx, secret, key); err != nil || wrong != "" {
			return &lifecycle.ImportedGrant{Missing: wrong}, err
		}
	}
	i := &lifecycle.ImportedGrant{Holder: secret.Holder(), RefreshToken: values["refresh_token"], Issuer: values["issuer"],
		Client: mcpoauth.ClientRegistration{
			Method: mcpoauth.Dynamic, ClientID: values[lifecycle.KeyClientID], ClientSecret: values[lifecycle.KeyClientSecret],
		}}
	for _, key := range []string{"refresh_token", lifecycle.KeyClientID, "issuer"} {
		if values[key] == "" {
			i.Missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, has no key %s; add it, or remove the field "+
				"to ask for a new consent.", ref.Name, key)
			return i, nil
		}
	}
	switch pinned := w.PinnedIssuer(); {
	case pinned != "" && pinned != i.Issuer:
		i.Missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, is of another issuer than the spec names "+
			"(%s); one of the two is wrong.", ref.Name, pinned)
	case w.Client != nil && w.Client.Missing == "" && w.Client.ID != i.Client.ClientID:
		i.Missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, is of another client_id than "+
			"spec.client.credentialsSecretRef; a refresh token belongs to one client.", ref.Name)
	}
	return i, nil
}

// importGrant takes over a grant that exists already. It is refreshed next, which shows whether it is any good.
func (r *Reconciler) importGrant(ctx context.Context, w *work) error {
	i, now := w.Imported, r.Clock.Now()
	if i.Missing != "" {
		w.NotePrecondition(r.Clock.Now(), lifecycle.StepImportGrant,
			lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: i.Missing})
		return nil
	}
	if as := w.Discovery.AuthorizationServer; as.Issuer != i.Issuer ||
		(w.Discovery.Unlisted != "" && w.PinnedIssuer() == "") {
		w.NotePrecondition(r.Clock.Now(), lifecycle.StepImportGrant, lifecycle.Unmet{Reason: v1alpha1.ReasonIssuerChanged,
			Message: fmt.Sprintf(
				"The Secret %s, named by spec.importSecretRef, holds a grant of another issuer than the server names. If the "+
					"server's is an alias, set spec.authorizationServer.issuer to the grant's; otherwise remove the field to ask "+
					"for a new consent.", w.Spec().ImportSecretRef.Name)})
		return nil
	}
	for _, d := range lifecycle.Destinations(&w.Discovery.AuthorizationServer) {
		if err := errors.Join(i.Holder.Admits(d), w.ClientMayGo(d)); err != nil {
			w.NoteUnmet(r.Clock.Now(), lifecycle.StepImportGrant, err)
			return nil
		}
	}
	w.Registered = lifecycle.ImportedClient(w.State, i)
	b := lifecycle.Binding(w.State)
	err := r.update(ctx, w, func(c *credential.Credential) error {
		c.PutGrant(credential.Grant{Binding: b, RefreshToken: i.RefreshToken, GrantedScopes: slices.Clone(b.Scopes),
			IssuedAt: now, RefreshAt: now.Truncate(time.Second), Generation: 1})
		c.Spent.Import = credential.Hash(i.RefreshToken)
		c.Authorization.Withdraw()
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving the imported grant: %w", err)
	}
	w.Failures, w.Imported, w.Discovery, w.Registered = nil, nil, nil, nil
	delete(w.References, w.Spec().ImportSecretRef.Name) // the next steps do not depend on it
	w.NoteInputs()
	w.Notes = append(w.Notes, lifecycle.Note{Reason: "GrantImported", Message: "The grant of the Secret " +
		w.Spec().ImportSecretRef.Name + " was taken over. Nothing else may use its refresh token from now on; the Secret " +
		"may be deleted."})
	return nil
}
