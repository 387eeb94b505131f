// Package reasons is the one list of the reasons that the operator writes into conditions, failures and events. The
// constants of api/v1alpha1 name them. A row of the table (table.go) says of a reason which conditions tell it, what
// follows from it, and what it means to a person.
//
// Whoever asks for more than one reason asks for a trait: the reconciler, the pages of the callback, metrics and
// kubectl mcpc do. A test writes the README's table from this one.
package reasons

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Trait is what follows from a reason. Traits combine as bits.
type Trait uint16

const (
	// Normal is of reasons whose events are of type Normal. Those of all others are Warnings.
	Normal Trait = 1 << iota
	// Yields is of reasons of Ready that say less than that the server demands more scopes, or that a template is broken:
	// Ready tells those instead.
	Yields
	// Stalls is of reasons that want an edit of the spec, or a change that the operator cannot wait for: Stalled is
	// present.
	Stalls
	// OfInputs is of failures that another content of a referenced Secret may mend: they are tried again when it changes.
	OfInputs
	// OfClient is of failures that are about the client: Registered tells them, whichever step failed.
	OfClient
	// OfAPIServer is of failures of the API server. Only Ready tells of them: they say nothing of a server or a person.
	OfAPIServer
	// HoldsPublication is of reasons of Ready with which a token is stored and not published: the page after a consent
	// says so.
	HoldsPublication
	// FailsConsent is of reasons of Authorized for which a consent came to nothing, until the link is opened again:
	// kubectl mcpc authorize ends with them.
	FailsConsent
	// Succeeds is of reasons with which a condition that is True wants nobody's attention: kubectl mcpc shows no more of
	// it.
	Succeeds
)

// Row is all that is known of a reason.
type Row struct {
	// Reason is a constant of api/v1alpha1.
	Reason string
	// Places are the conditions that tell it; Ready also tells the reasons of conditions that it follows from.
	Places []Place
	// Traits are what follows from it.
	Traits Trait
	// Meaning and Action say what happened and what to do about it, as cells of the README's table: in Markdown, on one
	// line, and without a full stop.
	Meaning, Action string
	// Page tells the person whose consent came to this, in a sentence; empty if no consent does.
	Page string
}

// Place is a condition with a status, such as Authorized with False.
type Place struct {
	Condition string
	Status    metav1.ConditionStatus
}

// index has the rows by their reasons.
var index = func() map[string]Row {
	rows := map[string]Row{}
	for _, row := range table {
		rows[row.Reason] = row
	}
	return rows
}()

// All are the rows of all reasons, in the order of the README.
func All() []Row { return slices.Clone(table) }

// Known reports whether the operator writes a reason.
func Known(reason string) bool {
	_, known := index[reason]
	return known
}

// Is reports whether a reason has one of the traits t. A reason that is not known has none.
func Is(reason string, t Trait) bool { return index[reason].Traits&t != 0 }

// Page is the sentence that tells a person whose consent came to a reason what happened; empty for one to which none
// comes.
func Page(reason string) string { return index[reason].Page }

// At are the reasons that a condition may have at a status, but for those that Ready takes from the conditions it
// follows from.
func At(condition string, status metav1.ConditionStatus) []string {
	var out []string
	for _, row := range table {
		if slices.Contains(row.Places, Place{condition, status}) {
			out = append(out, row.Reason)
		}
	}
	return out
}
