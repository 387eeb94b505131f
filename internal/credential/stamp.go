package credential

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Stamp tells one state of a credential Secret from another: what the reconciler wrote, and how many responses were
// recorded. What else the callback writes does not change it.
type Stamp struct {
	UID       types.UID
	Responses int64
	Writes    int64
}

// Stamp of a credential as read or written; the zero value for none.
func (h *Held) Stamp() Stamp {
	if h == nil {
		return Stamp{}
	}
	s := Stamp{Responses: h.Authorization.Revision, Writes: h.Writes}
	if h.secret != nil {
		s.UID = h.secret.UID
	}
	return s
}

// StampOf is the same from metadata alone. Annotations that are not there count as 0, as in a Secret that was written
// before there were any.
func StampOf(m metav1.Object) Stamp {
	return Stamp{UID: m.GetUID(), Responses: counter(m, AnnotationRevision), Writes: counter(m, AnnotationWrites)}
}

// counter is -1, which no state has, for what is no number.
func counter(m metav1.Object, annotation string) int64 {
	value, is := m.GetAnnotations()[annotation]
	if !is {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
