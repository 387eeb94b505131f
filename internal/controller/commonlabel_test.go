package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestAPolicyThatRewritesTheCommonLabelDoesNoHarm(t *testing.T) {
	w := newWorld(t)
	writes := 0
	platform := when(isToken, func(s *corev1.Secret) error {
		writes++
		s.Labels[v1alpha1.LabelManagedBy] = "platform"
		return nil
	})
	w.before(apiRules{create: platform, update: platform})
	w.apply()
	w.consent()
	for range 2 {
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRefresh()
		w.restart()
		w.before(apiRules{create: platform, update: platform})
		w.reconcile()
	}
	if writes != 3 || w.get().Status.Failure != nil || !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
		t.Errorf("%d writes, failure %+v", writes, w.get().Status.Failure)
	}
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil || w.secret() != nil {
		t.Error("the token Secret is left")
	}
}
