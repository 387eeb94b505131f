package gitops

import (
	"bytes"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/argoproj/notifications-engine/pkg/triggers"
	"sigs.k8s.io/yaml"
)

// application is one of Argo CD, as its notifications see it: without the health of each object, which Argo CD 3 does
// not store.
func application(health string, kinds ...string) map[string]any {
	var resources []any
	for _, kind := range kinds {
		resource := map[string]any{"kind": kind, "namespace": "team", "name": "files"}
		if group, kind, found := strings.Cut(kind, "/"); found { // those of the core group have no such key
			resource["group"], resource["kind"] = group, kind
		}
		resources = append(resources, resource)
	}
	return map[string]any{"app": map[string]any{
		"metadata": map[string]any{"name": "connections"},
		"status":   map[string]any{"health": map[string]any{"status": health}, "resources": resources},
	}}
}

// TestArgoCDNotifiesWhenAnApplicationWaitsForAPerson runs the trigger in the engine of Argo CD's notifications.
func TestArgoCDNotifiesWhenAnApplicationWaitsForAPerson(t *testing.T) {
	const name = "mcp-connection-consent-wanted"
	data := configMap(t, "argocd-notifications-cm")
	var conditions []triggers.Condition
	if err := yaml.UnmarshalStrict([]byte(data["trigger.on-"+name]), &conditions); err != nil {
		t.Fatal(err)
	}
	service, err := triggers.NewService(map[string][]triggers.Condition{name: conditions})
	if err != nil {
		t.Fatal(err)
	}
	const connection, rollout, secret = "mcp-connection.dev/MCPConnection", "argoproj.io/Rollout", "Secret"
	for about, test := range map[string]struct {
		vars      map[string]any
		triggered bool
	}{
		"a connection that waits":         {application("Suspended", secret, rollout, connection), true},
		"one that does not":               {application("Healthy", connection), false},
		"another kind that waits":         {application("Suspended", secret, rollout), false},
		"an Application without anything": {application("Suspended"), false},
	} {
		results, err := service.Run(name, test.vars)
		if err != nil || len(results) != 1 || results[0].Triggered != test.triggered || results[0].Templates[0] != name {
			t.Errorf("%s ends with %+v, %v", about, results, err)
		}
	}
	text := notification(t, data["template."+name], application("Suspended", secret, rollout, connection))
	if strings.Count(text, "kubectl mcpc authorize files -n team\n") != 1 {
		t.Errorf("the message is\n%s", text)
	}
}

// notification renders a template as Argo CD's notifications do: text/template with sprig, less what reads the
// environment.
func notification(t *testing.T, source string, vars map[string]any) string {
	t.Helper()
	var parts struct {
		Message string `json:"message"`
		Email   struct {
			Subject string `json:"subject"`
		} `json:"email"`
	}
	if err := yaml.UnmarshalStrict([]byte(source), &parts); err != nil {
		t.Fatal(err)
	}
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	var out bytes.Buffer
	for _, text := range []string{parts.Message, parts.Email.Subject} {
		parsed, err := template.New("").Funcs(functions).Parse(text)
		if err == nil {
			err = parsed.Execute(&out, vars)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}
