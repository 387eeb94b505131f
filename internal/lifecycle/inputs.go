package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/reasons"
)

// InputsRecheck is how often the Secrets are looked at that hold what a server refused.
const InputsRecheck = time.Minute

// InputsOf stands for the versions of the referenced Secrets that a failure is due to; empty if it is due to none. A
// version says nothing of the content, and anybody may see it.
func (s *State) InputsOf(reason string) string {
	if !reasons.Is(reason, reasons.OfInputs) {
		return ""
	}
	return s.Inputs
}

// RefusedInputs are the versions that were refused; empty if the failure is of another kind.
func RefusedInputs(f v1alpha1.Failure) string {
	if f.Step == string(StepPublish) { // which remembers the token Secret: see secretVersion
		return ""
	}
	return f.Inputs
}

// awaitsNewInputs reports whether somebody may put something better into a referenced Secret at any time.
func (s *State) awaitsNewInputs() bool {
	return s.MayImport() || slices.ContainsFunc(s.Failures,
		func(f v1alpha1.Failure) bool { return RefusedInputs(f) != "" })
}

// NoteInputs notes the versions of the Secrets that were read.
func (s *State) NoteInputs() {
	var versions []string
	for name, secret := range s.References {
		versions = append(versions, fmt.Sprintf("%s %s %s", name, secret.UID, secret.ResourceVersion))
	}
	if s.Inputs = ""; len(versions) > 0 {
		slices.Sort(versions)
		s.Inputs = credential.Hash(strings.Join(versions, ","))[:12]
	}
}

// ReferencesInUse are the Secrets, besides client and import, that the next steps may need; by the field that names
// them.
func (s *State) ReferencesInUse() map[string]string {
	names, spec := map[string]string{}, s.Spec()
	if s.Deleted() || s.suspended() {
		return names
	}
	if s.NonInteractive() {
		if a := spec.Assertion; a != nil && a.SecretRef != nil {
			names["spec.assertion.secretRef"] = a.SecretRef.Name
		}
		if idp := spec.IdentityProvider; idp != nil {
			names[FieldIdentity] = idp.CredentialsSecretRef.Name
		}
		return names
	}
	if ref, g := ClientSpec(spec).InitialAccessTokenSecretRef, s.Grant(); ref != nil &&
		(g == nil || g.SetAside != nil || s.Failures.Has(StepRegister)) {
		names["spec.client.initialAccessTokenSecretRef"] = ref.Name
	}
	return names
}
