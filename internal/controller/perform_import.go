package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// importedGrant is what importSecretRef holds now.
type importedGrant struct {
	refreshToken, issuer string
	client               mcpoauth.ClientRegistration
	// missing says what is not there; empty if all is.
	missing string
	// holder is what it was read from.
	holder holder
}

// mayImport reports whether what importSecretRef refers to is of use: the spec names something, and the connection has no grant.
func (o *observed) mayImport() bool {
	g := o.grant()
	return o.spec().ImportSecretRef != nil && !o.deleted() && (g == nil || g.SetAside != nil)
}

// referencedGrant reads what importSecretRef refers to; nil if that is of no use.
func (r *Reconciler) referencedGrant(ctx context.Context, o *work) (*importedGrant, error) {
	if !o.mayImport() {
		return nil, nil
	}
	ref := o.spec().ImportSecretRef
	secret, err := r.reference(ctx, o, ref.Name, "spec.importSecretRef")
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return &importedGrant{missing: fmt.Sprintf("The Secret %s, named by spec.importSecretRef, does not exist in namespace %s; create it with the keys refresh_token, client_id and issuer, or remove the field to ask for a new consent.", ref.Name, o.conn.Namespace)}, nil
	}
	values := map[string]string{}
	for _, key := range []string{"refresh_token", keyClientID, "issuer", keyClientSecret} {
		var wrong string
		if values[key], wrong, err = r.valueOf(ctx, secret, key); err != nil || wrong != "" {
			return &importedGrant{missing: wrong}, err
		}
	}
	i := &importedGrant{holder: secret.holder(), refreshToken: values["refresh_token"], issuer: values["issuer"], client: mcpoauth.ClientRegistration{
		Method: mcpoauth.Dynamic, ClientID: values[keyClientID], ClientSecret: values[keyClientSecret],
	}}
	for _, key := range []string{"refresh_token", keyClientID, "issuer"} {
		if values[key] == "" {
			i.missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, has no key %s; add it, or remove the field to ask for a new consent.", ref.Name, key)
			return i, nil
		}
	}
	switch pinned := o.pinnedIssuer(); {
	case pinned != "" && pinned != i.issuer:
		i.missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, is of another issuer than the spec names (%s); one of the two is wrong.", ref.Name, pinned)
	case o.client != nil && o.client.missing == "" && o.client.id != i.client.ClientID:
		i.missing = fmt.Sprintf("The Secret %s, named by spec.importSecretRef, is of another client_id than spec.client.credentialsSecretRef; a refresh token belongs to one client.", ref.Name)
	}
	return i, nil
}

// importWanted says whether a grant that was brought along is to be taken over. One that was taken over once is not again.
func (o *observed) importWanted() bool {
	if o.imported == nil || o.unattended() || o.offerTaken() {
		return false
	}
	c := o.credential()
	return c == nil || o.imported.missing != "" && c.Spent.Import == "" || o.imported.missing == "" && c.Spent.Import != credential.Hash(o.imported.refreshToken)
}

// offerTaken says whether a person is giving consent already.
func (o *observed) offerTaken() bool { return o.response() != nil }

// importGrant takes over a grant that exists already. It is refreshed next, which shows whether it is any good.
func (r *Reconciler) importGrant(ctx context.Context, o *work) error {
	i, now := o.imported, r.Clock.Now()
	if i.missing != "" {
		o.unmet(r.Clock.Now(), stepImportGrant, unmet{v1alpha1.ReasonCredentialsMissing, i.missing})
		return nil
	}
	if as := o.discovery.AuthorizationServer; as.Issuer != i.issuer || (o.discovery.Unlisted != "" && o.pinnedIssuer() == "") {
		o.unmet(r.Clock.Now(), stepImportGrant, unmet{v1alpha1.ReasonIssuerChanged, fmt.Sprintf(
			"The Secret %s, named by spec.importSecretRef, holds a grant of another issuer than the server names. If the server's is an alias, set spec.authorizationServer.issuer to the grant's; otherwise remove the field to ask for a new consent.", o.spec().ImportSecretRef.Name)})
		return nil
	}
	for _, d := range destinations(&o.discovery.AuthorizationServer) {
		if err := errors.Join(i.holder.admits(d), o.clientMayGo(d)); err != nil {
			o.notMet(r.Clock.Now(), stepImportGrant, err)
			return nil
		}
	}
	o.registered = importedClient(o.observed, i)
	b := binding(o.observed)
	err := r.update(ctx, o, func(c *credential.Credential) error {
		c.PutGrant(credential.Grant{Binding: b, RefreshToken: i.refreshToken, GrantedScopes: slices.Clone(b.Scopes), IssuedAt: now, RefreshAt: now.Truncate(time.Second), Generation: 1})
		c.Spent.Import = credential.Hash(i.refreshToken)
		c.Authorization.Withdraw()
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving the imported grant: %w", err)
	}
	o.failures, o.imported, o.discovery, o.registered = nil, nil, nil, nil
	delete(o.references, o.spec().ImportSecretRef.Name) // the next steps do not depend on it
	o.noteInputs()
	o.notes = append(o.notes, note{reason: "GrantImported", message: "The grant of the Secret " + o.spec().ImportSecretRef.Name + " was taken over. Nothing else may use its refresh token from now on; the Secret may be deleted."})
	return nil
}

// importedClient is the client that the grant was given to: the spec's, or one that counts as registered dynamically, for if
// the server forgets it, the operator registers one of its own.
func importedClient(o *observed, i *importedGrant) *mcpoauth.ClientRegistration {
	client := i.client
	methods := o.discovery.AuthorizationServer.TokenEndpointAuthMethodsSupported
	wanted := mcpoauth.AuthMethod(clientSpec(o.spec()).AuthMethod)
	switch {
	case o.client != nil:
		client.Method, client.ClientSecret = mcpoauth.Preregistered, o.client.secret
		client.AuthMethod = mcpoauth.SelectAuthMethod(methods, wanted, o.client.secret, o.client.key != nil)
		return &client
	case clientSpec(o.spec()).Registration == v1alpha1.RegistrationMetadataDocument:
		client.Method = mcpoauth.MetadataDocument
	}
	client.AuthMethod = mcpoauth.SelectAuthMethod(methods, wanted, client.ClientSecret, false)
	return &client
}

// importVerdict speaks of a grant that cannot be taken over; nil if the client is what is wrong.
func importVerdict(failure *v1alpha1.Failure) *verdict {
	if is(failure.Reason, ofClient) {
		return nil
	}
	return no(failure.Reason, failure.Message)
}

// tokenlessVerdict speaks of a grant that has brought no access token yet: it was taken over, or only the refresh token of an
// answer could be kept.
func tokenlessVerdict(o *observed) *verdict {
	what := "The imported grant was taken over"
	if credential.Hash(o.grant().RefreshToken) != o.credential().Spent.Import {
		what = "The person consented, and only the refresh token could be kept"
	}
	if failure := o.failures.find(stepRefresh); failure != nil {
		if is(failure.Reason, ofClient) {
			return nil // the client is what is wrong
		}
		return no(failure.Reason, what+", but refreshing it fails and is retried. "+failure.Message)
	}
	return no(v1alpha1.ReasonProgressing, what+"; its first token is being requested.")
}
