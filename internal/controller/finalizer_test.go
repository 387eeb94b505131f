package controller

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestOnlyAStrippedFinalizerWakesAConnection(t *testing.T) {
	with := &v1alpha1.MCPConnection{}
	with.Finalizers = []string{"example.com/other", v1alpha1.Finalizer}
	without := &v1alpha1.MCPConnection{}
	without.Finalizers = []string{"example.com/other"}
	p := finalizerStripped()
	if !p.Update(event.UpdateEvent{ObjectOld: with, ObjectNew: without}) {
		t.Error("a stripped one does not")
	}
	if p.Update(event.UpdateEvent{ObjectOld: without, ObjectNew: with}) ||
		p.Update(event.UpdateEvent{ObjectOld: with, ObjectNew: with}) || p.Create(event.CreateEvent{Object: without}) {
		t.Error("something else does")
	}
}
