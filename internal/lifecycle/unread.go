package lifecycle

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// UnreadStatus is the status as it was, with Ready turned False on time.
func UnreadStatus(now time.Time, s *State) v1alpha1.MCPConnectionStatus {
	status := *s.Conn.Status.DeepCopy()
	status.ObservedGeneration, status.Next = s.Conn.Generation, nil
	reportFailures(&status, s.Failures)
	failure := s.Failures.Find(StepObserve)
	ready := no(failure.Reason, failure.Message)
	expired := status.Token != nil && status.Token.ExpiresAt != nil && !now.Before(status.Token.ExpiresAt.Time)
	if old := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); old != nil &&
		old.Status == metav1.ConditionTrue && !expired {
		ready = yes(failure.Reason, failure.Message)
	}
	reconciling, _ := progressVerdicts(s, ready)
	kept := slices.DeleteFunc(status.Conditions, func(c metav1.Condition) bool {
		return slices.Contains([]string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled},
			c.Type)
	})
	for i := range kept {
		kept[i].ObservedGeneration = s.Conn.Generation
	}
	status.Conditions = append([]metav1.Condition{condition(now, s, v1alpha1.ConditionReady, ready)}, kept...)
	if reconciling != nil {
		status.Conditions = append(status.Conditions, condition(now, s, v1alpha1.ConditionReconciling, reconciling))
	}
	return status
}
