package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Failure is a step that fails, and when it is tried again.
type Failure struct {
	// step that fails, such as discover, register, exchangeCode, refresh or publish.
	// +required
	// +kubebuilder:validation:MinLength=1
	Step string `json:"step,omitempty"`
	// reason is the condition reason that the failure leads to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Reason string `json:"reason,omitempty"`
	// attempts made since the step last succeeded.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempts int32 `json:"attempts,omitempty"`
	// since when the step fails.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// attemptedAt is when it failed last.
	// +optional
	AttemptedAt *metav1.Time `json:"attemptedAt,omitempty"`
	// retryAt is when it is tried again; absent if it waits for an edit or a person.
	// +optional
	RetryAt *metav1.Time `json:"retryAt,omitempty"`
	// message says what went wrong and what to do.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Message string `json:"message,omitempty"`
	// trigger is a fingerprint of the generation and the request annotations that the failure belongs to; under another
	// one the step starts over.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Trigger string `json:"trigger,omitempty"`
	// inputs is a fingerprint of the versions of the Secrets that the step failed with; with other versions it is tried at
	// once. Absent where no Secret can be the reason.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Inputs string `json:"inputs,omitempty"`
}

// NextStatus is what the operator does next by itself. Until then it leaves the connection alone, unless what it
// planned by changes.
type NextStatus struct {
	// at is when it is due; past while it waits for its turn, or is done again and again.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
	// step that is due then, a word as in failure.step; observe where the operator only looks again, for instance since
	// the token expires.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Step string `json:"step,omitempty"`
	// computedAt is when this was planned.
	// +optional
	ComputedAt *metav1.Time `json:"computedAt,omitempty"`
	// basis is a SHA-256 (hex) of all that it was planned by; under another one the operator looks at the connection at
	// once.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Basis string `json:"basis,omitempty"`
}
