package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/slots"
)

// listed is a connection that was there before the process.
func listed(name string, refreshIn time.Duration) *v1alpha1.MCPConnection {
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: "uid"}}
	if refreshIn != 0 {
		conn.Status.Token = &v1alpha1.TokenStatus{RefreshAt: &metav1.Time{Time: epoch.Add(refreshIn)},
			ExpiresAt: &metav1.Time{Time: epoch.Add(refreshIn + time.Minute)}}
	}
	return conn
}

// credentialOf is what the cache holds of a connection's credential Secret.
func credentialOf(name string, recorded bool) *metav1.PartialObjectMetadata {
	m := credential.SecretMetadata()
	m.Labels = map[string]string{v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential}
	m.Annotations = map[string]string{credential.AnnotationConnection: "team/" + name, credential.AnnotationRevision: "1",
		credential.AnnotationHandled: "1"}
	if recorded {
		m.Annotations[credential.AnnotationRevision] = "2"
	}
	return m
}

func TestAfterARestartWhatIsDueComesBeforeWhatIsNew(t *testing.T) {
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(epoch)}
	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	both := []handler.EventHandler{&handler.EnqueueRequestForObject{}, handler.Funcs{CreateFunc: r.enqueueListed}}
	for i := range 3 {
		for _, h := range both {
			h.Create(t.Context(), event.CreateEvent{Object: listed(fmt.Sprint("new ", i), 0)}, queue)
		}
	}
	for _, conn := range []*v1alpha1.MCPConnection{listed("at rest", 0), listed("due in an hour", time.Hour),
		listed("due", -time.Second), listed("with a code", 0)} {
		for _, h := range both {
			h.Create(t.Context(), event.CreateEvent{Object: conn, IsInInitialList: true}, queue)
		}
	}
	secrets := handler.Funcs{CreateFunc: enqueueCreated}
	for _, secret := range []*metav1.PartialObjectMetadata{credentialOf("with a code", true),
		credentialOf("at rest", false)} {
		if e := (event.CreateEvent{Object: secret, IsInInitialList: true}); secretChanges().Create(e) {
			secrets.Create(t.Context(), e, queue)
		}
	}
	var order []string
	for range 7 {
		request, _, _ := queue.GetWithPriority()
		order = append(order, request.Name)
	}
	if want := []string{"with a code", "due", "due in an hour", "new 0", "new 1", "new 2", "at rest"}; !slices.Equal(order,
		want) {
		t.Errorf("the order is %q", order)
	}
}

func TestACodeIsEnqueuedBeforeAllElseWhenItIsRecorded(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	for i := range 3 {
		u := slots.RefreshUrgency(epoch.Add(time.Duration(i)*time.Minute), false)
		enqueue(queue, u, types.NamespacedName{Namespace: "team", Name: fmt.Sprint("due ", i)})
	}
	e := event.UpdateEvent{ObjectOld: credentialOf("c", false), ObjectNew: credentialOf("c", true)}
	if !secretChanges().Update(e) {
		t.Fatal("nobody is woken")
	}
	handler.Funcs{UpdateFunc: enqueueChanged}.Update(t.Context(), e, queue)
	if request, priority, _ := queue.GetWithPriority(); request.Name != "c" || priority != int(slots.DueExchange) {
		t.Errorf("first comes %v with %d", request, priority)
	}
}
