package controller

import (
	"errors"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// unmet says that something from inside the cluster is not there or not allowed, so that nothing was sent.
type unmet struct{ reason, message string }

func (u unmet) Error() string { return u.message }

// missing notes that a referenced Secret is not there; it is looked for again within a minute.
func (o *observed) missing(now time.Time, s step) {
	o.unmet(now, s, unmet{v1alpha1.ReasonCredentialsMissing, o.client.missing})
}

// notMet notes an error that says what a step wants.
func (o *observed) notMet(now time.Time, s step, err error) {
	var u unmet
	if errors.As(err, &u) {
		o.unmet(now, s, u)
	}
}

// unmet notes that a step cannot begin; it is looked at again within a minute.
func (o *observed) unmet(now time.Time, s step, u unmet) {
	o.recordFailure(s, u.reason, u.message, now, func(int32) time.Time { return now.Add(missingRetry) })
}
