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
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// toldOnce checks that there is one Event of a reason, as Argo CD's page of a resource and kubectl look for it, and that it does
// not hold the link.
func (l *life) toldOnce(reason string) {
	l.Helper()
	live := l.live()
	// server/application.ListResourceEvents of Argo CD has these selectors.
	selectors := client.MatchingFields{"involvedObject.name": live.GetName(), "involvedObject.uid": string(live.GetUID()), "involvedObject.namespace": live.GetNamespace()}
	var found []corev1.Event
	err := wait.PollUntilContextTimeout(l.Context(), 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var list corev1.EventList
		if err := l.plane.Client.List(ctx, &list, client.InNamespace(live.GetNamespace()), selectors); err != nil {
			return false, err
		}
		found = nil
		for _, event := range list.Items {
			if event.Reason == reason {
				found = append(found, event)
			}
		}
		return len(found) > 0, nil
	})
	l.must(err)
	conn := l.waitFor("the link", func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	if len(found) != 1 || found[0].Series != nil || found[0].Count > 1 || found[0].Type != corev1.EventTypeNormal || strings.Contains(found[0].Message, conn.Status.AuthorizationURL) {
		l.Errorf("a person is told by %+v", found)
	}
	for _, args := range [][]string{
		{"events", "--for", "mcpconnection.v1alpha1.mcp-connection.dev/" + live.GetName()},
		{"get", "events", "--field-selector", "reason=" + reason + ",involvedObject.kind=MCPConnection,involvedObject.name=" + live.GetName()},
		{"describe", "mcpc", live.GetName()},
	} {
		out, err := l.plane.Kubectl(l.Context(), append(args, "-n", live.GetNamespace())...)
		l.must(err)
		if !strings.Contains(out, found[0].Message) {
			l.Errorf("kubectl %s shows %s", strings.Join(args, " "), out)
		}
	}
}

// TestFluxHasNoAlertForForeignKinds: an Alert takes events of Flux's own kinds only, which is why the kit watches the Kustomization. Should
// Flux ever take others, docs/gitops.md is to say so.
func TestFluxHasNoAlertForForeignKinds(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(moduleDir(t, "github.com/fluxcd/notification-controller/api"), "v1", "reference_types.go"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`validation:Enum=(\S+)\n.*\n\s*Kind string`).FindSubmatch(source)
	if kinds == nil || !strings.Contains(string(kinds[1]), "Kustomization") || strings.Contains(string(kinds[1]), "MCPConnection") {
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
