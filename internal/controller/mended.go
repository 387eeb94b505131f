package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// mendedRecheck is how often the Secrets are looked at that hold what a server refused.
const mendedRecheck = time.Minute

// inputsOf stands for the versions of the referenced Secrets that a failure is due to; empty if it is due to none. A version
// says nothing of the content, and anybody may see it.
func (o *observed) inputsOf(reason string) string {
	if !is(reason, mendable) {
		return ""
	}
	return o.inputs
}

// refusedInputs are the versions that were refused; empty if the failure is of another kind.
func refusedInputs(f v1alpha1.Failure) string {
	if f.Step == string(stepPublish) { // which remembers the token Secret: see secretVersion
		return ""
	}
	return f.Inputs
}

// awaitsMending says whether somebody may put something better into a referenced Secret at any time.
func (o *observed) awaitsMending() bool {
	return o.mayImport() || slices.ContainsFunc(o.failures, func(f v1alpha1.Failure) bool { return refusedInputs(f) != "" })
}

// retryMended reads what a server may have refused, and has the steps tried now that failed with what is not there any more.
func (r *Reconciler) retryMended(ctx context.Context, o *work) error {
	for field, name := range o.referencesInUse() {
		if _, err := r.reference(ctx, o, name, field); err != nil {
			return err
		}
	}
	o.noteInputs()
	for i := range o.failures {
		if refused := refusedInputs(o.failures[i]); refused != "" && refused != o.inputs {
			o.failures[i].Attempts, o.failures[i].RetryAt = 1, timeOf(r.Clock.Now().Truncate(time.Second))
		}
	}
	return nil
}

// noteInputs notes the versions of the Secrets that were read.
func (o *observed) noteInputs() {
	var versions []string
	for name, secret := range o.references {
		versions = append(versions, fmt.Sprintf("%s %s %s", name, secret.UID, secret.ResourceVersion))
	}
	if o.inputs = ""; len(versions) > 0 {
		slices.Sort(versions)
		o.inputs = credential.Hash(strings.Join(versions, ","))[:12]
	}
}

// referencesInUse are the Secrets, besides client and import, that the next steps may need; by the field that names them.
func (o *observed) referencesInUse() map[string]string {
	names, spec := map[string]string{}, o.spec()
	if o.deleted() || o.suspended() {
		return names
	}
	if o.unattended() {
		if a := spec.Assertion; a != nil && a.SecretRef != nil {
			names["spec.assertion.secretRef"] = a.SecretRef.Name
		}
		if idp := spec.IdentityProvider; idp != nil {
			names[fieldIdentity] = idp.CredentialsSecretRef.Name
		}
		return names
	}
	if ref, g := clientSpec(spec).InitialAccessTokenSecretRef, o.grant(); ref != nil && (g == nil || g.SetAside != nil || o.failures.has(stepRegister)) {
		names["spec.client.initialAccessTokenSecretRef"] = ref.Name
	}
	return names
}
