package gitops

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// toldOnce checks that there is one Event of a reason, as Argo CD's page of a resource and kubectl look for it, that it
// does not hold the link, and that another look of the operator tells nobody again.
func (l *life) toldOnce(reason string) {
	l.Helper()
	var found []corev1.Event
	err := wait.PollUntilContextTimeout(l.Context(), 200*time.Millisecond, patience, true,
		func(context.Context) (bool, error) {
			found = l.events(reason)
			return len(found) > 0, nil
		})
	l.must(err)
	l.edited()
	found = l.events(reason)
	live := l.live()
	conn := l.waitFor("the link", func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	if len(found) != 1 || found[0].Series != nil || found[0].Count > 1 || found[0].Type != corev1.EventTypeNormal ||
		strings.Contains(found[0].Message, conn.Status.AuthorizationURL) {
		l.Errorf("a person is told by %+v", found)
	}
	for _, args := range [][]string{
		{"events", "--for", "mcpconnection.v1alpha1.mcp-connection.dev/" + live.GetName()},
		{"get", "events", "--field-selector", "reason=" + reason + ",involvedObject.kind=MCPConnection,involvedObject.name=" +
			live.GetName()},
		{"describe", "mcpc", live.GetName()},
	} {
		out, err := l.plane.Kubectl(l.Context(), append(args, "-n", live.GetNamespace())...)
		l.must(err)
		if !strings.Contains(out, found[0].Message) {
			l.Errorf("kubectl %s shows %s", strings.Join(args, " "), out)
		}
	}
}

// events are those of a reason.
func (l *life) events(reason string) (found []corev1.Event) {
	l.Helper()
	live := l.live()
	// server/application.ListResourceEvents of Argo CD has these selectors.
	selectors := client.MatchingFields{"involvedObject.name": live.GetName(), "involvedObject.uid": string(live.GetUID()),
		"involvedObject.namespace": live.GetNamespace()}
	var list corev1.EventList
	l.must(l.plane.Client.List(l.Context(), &list, client.InNamespace(live.GetNamespace()), selectors))
	for _, event := range list.Items {
		if event.Reason == reason {
			found = append(found, event)
		}
	}
	return found
}

// edited has the operator look at an edit by Git and at its undoing. Events of the first are written when it has seen
// the second.
func (l *life) edited() {
	l.Helper()
	before := l.desired.DeepCopy()
	l.must(unstructured.SetNestedField(l.desired.Object, "23h", "spec", "refresh", "keepAlive"))
	for _, desired := range []*unstructured.Unstructured{l.desired, before} {
		l.desired = desired
		l.apply("edited", true)
		l.waitFor("the operator's look at an edit",
			func(c *v1alpha1.MCPConnection) bool { return c.Status.ObservedGeneration == l.edits })
	}
}

// TestFluxHasNoAlertForForeignKinds: an Alert takes events of Flux's own kinds only, which is why the kit watches the
// Kustomization. Should Flux ever take others, docs/gitops.md is to say so.
func TestFluxHasNoAlertForForeignKinds(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(moduleDir(t, "github.com/fluxcd/notification-controller/api"), "v1",
		"reference_types.go"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`validation:Enum=(\S+)\n.*\n\s*Kind string`).FindSubmatch(source)
	if kinds == nil || !strings.Contains(string(kinds[1]), "Kustomization") ||
		strings.Contains(string(kinds[1]), "MCPConnection") {
		t.Errorf("the kinds of an Alert's sources are %q", kinds)
	}
}

// moduleDir is where the source of a module is.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
