package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestAnUpdateThatTookStatusAwayIsLetThrough(t *testing.T) {
	whole := &v1alpha1.MCPConnection{Status: v1alpha1.MCPConnectionStatus{
		ObservedGeneration: 1, LastHandled: &v1alpha1.LastHandled{Refresh: "1"},
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded},
			{Type: v1alpha1.ConditionDiscovered, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded},
			{Type: v1alpha1.ConditionProbed, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotProbed},
		},
	}}
	for name, test := range map[string]struct {
		change func(*v1alpha1.MCPConnection)
		want   bool
	}{
		"nothing":   {func(*v1alpha1.MCPConnection) {}, false},
		"all of it": {func(c *v1alpha1.MCPConnection) { c.Status = v1alpha1.MCPConnectionStatus{} }, true},
		"all of it, with the default": {func(c *v1alpha1.MCPConnection) {
			c.Status = v1alpha1.MCPConnectionStatus{ObservedGeneration: -1}
		}, true},
		"the conditions":          {func(c *v1alpha1.MCPConnection) { c.Status.Conditions = nil }, true},
		"the observed generation": {func(c *v1alpha1.MCPConnection) { c.Status.ObservedGeneration = 0 }, true},
		"what was handled":        {func(c *v1alpha1.MCPConnection) { c.Status.LastHandled = nil }, true},
		"a condition that comes, goes": {func(c *v1alpha1.MCPConnection) { c.Status.Conditions = c.Status.Conditions[:2] },
			false},
		"another message": {func(c *v1alpha1.MCPConnection) { c.Status.Conditions[0].Message = "x" }, false},
	} {
		after := whole.DeepCopy()
		test.change(after)
		if got := statusLost().Update(event.UpdateEvent{ObjectOld: whole, ObjectNew: after}); got != test.want {
			t.Errorf("%s was taken away: %t", name, got)
		}
		if statusLost().Update(event.UpdateEvent{ObjectOld: after, ObjectNew: after}) {
			t.Errorf("%s: what stays away wakes it again", name)
		}
	}
	if statusLost().Create(event.CreateEvent{Object: whole}) ||
		statusLost().Update(event.UpdateEvent{ObjectOld: &metav1.PartialObjectMetadata{}, ObjectNew: whole}) {
		t.Error("something else is let through")
	}
}
