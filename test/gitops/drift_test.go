package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
)

// patience bounds every single wait.
const patience = time.Minute

// person is the field manager of kubectl mcpc. Flux does not clean up after it, unlike those whose names begin with
// kubectl.
const person = "mcpc"

const minimal = `
apiVersion: mcp-connection.dev/v1alpha1
kind: MCPConnection
metadata: {name: NAME, namespace: team}
spec:
  serverURL: SERVER`

// full names every field that goes together, with durations and false values that a program would write differently.
const full = `
apiVersion: mcp-connection.dev/v1alpha1
kind: MCPConnection
metadata:
  name: NAME
  namespace: team
  labels: {team: files}
  annotations: {argocd.argoproj.io/sync-wave: "10"}
spec:
  serverURL: SERVER
  suspend: false
  grantType: AuthorizationCode
  scopes: ["mcp:read"]
  client: {registration: Dynamic, name: Files of the team, authMethod: none}
  authorizationServer: {issuer: ISSUER}
  compatibility:
    resource: {mode: Auto}
    assumePKCES256: false
    legacyEndpoints: false
    authorizationParameters: {prompt: consent}
    scopeOnRefresh: true
    offlineAccess: Auto
  tokenSecret:
    name: NAME-secret
    labels: {team: files}
    annotations: {reloader.stakater.com/match: "true"}
    data: {headers.json: '{"Authorization": {{ .authorization | toJson }}}'}
  refresh: {before: 5m, keepAlive: 24h}
  probe: {interval: 60m}
  deletionPolicy: Revoke`

// life is one connection that a GitOps tool keeps as Git has it.
type life struct {
	*testing.T
	plane   *harness.ControlPlane
	server  *oauthtest.Server
	judges  *judges
	tool    tool
	desired *unstructured.Unstructured
	edits   int64          // how often Git changed
	spec    any            // what the API server made of Git's spec
	owned   map[string]any // fields that the tool owns
}

func (l *life) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// apply is one sync, which must change the object or not.
func (l *life) apply(when string, changes bool) {
	l.Helper()
	changed, err := l.tool.apply(l.Context(), l.desired.DeepCopy())
	l.must(err)
	if changed != changes {
		l.Errorf("%s a sync changed something: %v", when, changed)
	}
	if changes {
		l.edits++
		live := l.live()
		l.spec, l.owned = live.Object["spec"], l.ownedBy(live)
	}
}

func (l *life) live() *unstructured.Unstructured {
	l.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(l.desired.GroupVersionKind())
	l.must(l.plane.Client.Get(l.Context(), client.ObjectKeyFromObject(l.desired), live))
	return live
}

func (l *life) ownedBy(live *unstructured.Unstructured) map[string]any {
	l.Helper()
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == l.tool.manager() && entry.Subresource == "" {
			return fields(l.T, entry)
		}
	}
	l.Fatalf("%s owns nothing", l.tool.manager())
	return nil
}

func fields(t *testing.T, entry metav1.ManagedFieldsEntry) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// unchanged checks what Git says, who owns it, and that the next sync has nothing to do.
func (l *life) unchanged(when string) {
	l.Helper()
	live := l.live()
	if live.GetGeneration() != l.edits {
		l.Errorf("%s the generation is %d after %d edits", when, live.GetGeneration(), l.edits)
	}
	if !reflect.DeepEqual(live.Object["spec"], l.spec) {
		l.Errorf("%s the spec is %v, not %v", when, live.Object["spec"], l.spec)
	}
	for field, pair := range map[string][2]map[string]string{
		"label": {l.desired.GetLabels(), live.GetLabels()}, "annotation": {l.desired.GetAnnotations(), live.GetAnnotations()},
	} {
		for key, value := range pair[0] {
			if pair[1][key] != value {
				l.Errorf("%s the %s %s is %q", when, field, key, pair[1][key])
			}
		}
	}
	if owned := l.ownedBy(live); !reflect.DeepEqual(owned, l.owned) {
		l.Errorf("%s the tool owns %v, not %v", when, owned, l.owned)
	}
	for _, entry := range live.GetManagedFields() {
		written := slices.Sorted(maps.Keys(fields(l.T, entry)))
		metadata, _ := fields(l.T, entry)["f:metadata"].(map[string]any)
		switch {
		case entry.Manager == l.tool.manager():
		case entry.Subresource == "status" && slices.Equal(written, []string{"f:status"}):
		case (entry.Manager == "kubectl-annotate" || entry.Manager == person) &&
			slices.Equal(slices.Sorted(maps.Keys(metadata)), []string{"f:annotations"}):
		case slices.Equal(written, []string{"f:metadata"}) && slices.Equal(slices.Sorted(maps.Keys(metadata)),
			[]string{"f:finalizers"}):
		default:
			l.Errorf("%s %s writes %s", when, entry.Manager, entry.FieldsV1.GetRawBytes())
		}
	}
	v, err := l.judges.judge(l.Context(), live)
	l.must(err)
	l.Logf("%-44s kstatus %-11s Flux %-11s Argo CD %s", when, v.kstatus, v.flux, v.argo.Status)
	for _, broken := range laws(live, v) {
		l.Errorf("%s: %s: %+v", when, broken, v)
	}
	l.apply(when, false)
}

// annotate is a person's request.
func (l *life) annotate(key, value string, flags ...string) {
	l.Helper()
	_, err := l.plane.Kubectl(l.Context(), append([]string{"annotate", "--overwrite", "-n", l.desired.GetNamespace(),
		"mcpc/" + l.desired.GetName(), key + "=" + value}, flags...)...)
	l.must(err)
}

// cleaned syncs, and checks whether the tool takes off an annotation that somebody else has set.
func (l *life) cleaned(key string, cleans bool) {
	l.Helper()
	_, err := l.tool.apply(l.Context(), l.desired.DeepCopy())
	l.must(err)
	if _, there := l.live().GetAnnotations()[key]; there == cleans {
		l.Errorf("after a sync the annotation %s is there: %v", key, there)
	}
}

// refreshed waits until a request was acted on, and counts the refreshes of the grant that is in use.
func (l *life) refreshed(value string, times int) {
	l.Helper()
	l.waitFor("the refresh", func(c *v1alpha1.MCPConnection) bool {
		return c.Status.LastHandled != nil && c.Status.LastHandled.Refresh == value
	})
	if grants := l.server.Grants(); grants[len(grants)-1].Refreshes != times {
		l.Errorf("the grant was refreshed %d times, not %d", grants[len(grants)-1].Refreshes, times)
	}
}

func (l *life) waitFor(what string, done func(*v1alpha1.MCPConnection) bool) *v1alpha1.MCPConnection {
	l.Helper()
	conn, err := l.plane.WaitFor(l.Context(), client.ObjectKeyFromObject(l.desired), patience, what, done)
	l.must(err)
	return conn
}

func (l *life) waitReady(status metav1.ConditionStatus, reason string) *v1alpha1.MCPConnection {
	l.Helper()
	conn, err := l.plane.WaitCondition(l.Context(), client.ObjectKeyFromObject(l.desired), patience,
		v1alpha1.ConditionReady, status, reason)
	l.must(err)
	return conn
}

func (l *life) consent() {
	l.Helper()
	conn := l.waitFor("a link", func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	_, err := harness.NewBrowser().Consent(l.Context(), conn.Status.AuthorizationURL,
		harness.Consent{Expect: []string{l.server.MCPURL()}})
	l.must(err)
	l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
}

// lead takes the connection from its creation to its end. Requests are made by annotations that the next sync may take
// off.
func (l *life) lead() {
	l.apply("at first", true)
	l.waitReady(metav1.ConditionFalse, v1alpha1.ReasonConsentRequired)
	l.unchanged("waiting for a person")
	l.tool.watches(l)
	l.toldOnce(v1alpha1.ReasonConsentRequired)
	l.consent()
	l.unchanged("with a token")

	l.annotate(v1alpha1.AnnotationRefresh, "1")
	l.refreshed("1", 1)
	l.cleaned(v1alpha1.AnnotationRefresh, l.tool.cleans())
	l.unchanged("after a refresh")

	l.annotate(v1alpha1.AnnotationReauthorize, "1")
	l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
	l.cleaned(v1alpha1.AnnotationReauthorize, l.tool.cleans())
	l.unchanged("asked for another consent")
	l.consent()

	l.annotate(v1alpha1.AnnotationChallenge, `Bearer error="insufficient_scope", scope="mcp:read mcp:write"`)
	l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonConsentRequired)
	l.cleaned(v1alpha1.AnnotationChallenge, l.tool.cleans())
	l.unchanged("asked for more scopes")
	l.consent()
	if scopes := l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonSucceeded).Status.Scopes; !slices.Contains(scopes,
		"mcp:write") {
		l.Errorf("the scopes that the challenge asked for were forgotten: %v", scopes)
	}
	l.unchanged("with more scopes")

	l.annotate(v1alpha1.AnnotationRefresh, "2", "--field-manager="+person)
	l.cleaned(v1alpha1.AnnotationRefresh, false)
	l.refreshed("2", 1)
	l.unchanged("after a request that no tool takes off")

	l.must(unstructured.SetNestedField(l.desired.Object, true, "spec", "suspend"))
	l.apply("suspended by Git", true)
	l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	l.unchanged("suspended")
	l.must(unstructured.SetNestedField(l.desired.Object, false, "spec", "suspend"))
	l.apply("resumed by Git", true)
	l.waitReady(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	l.unchanged("resumed")

	l.must(l.tool.prune(l.Context(), l.desired.DeepCopy()))
	l.must(l.plane.WaitGone(l.Context(), l.live(), patience))
}

// TestWhatAGitOpsToolAppliedStaysAsItIs leads a connection's whole life under each tool, with a live operator.
func TestWhatAGitOpsToolAppliedStaysAsItIs(t *testing.T) {
	plane, _ := harness.StartForTest(t.Context(), t)
	if err := plane.Namespace(t.Context(), "team"); err != nil {
		t.Fatal(err)
	}
	besideArgoCD(t, plane)
	judges := newJudges(t)
	for name, tool := range tools(t, plane) {
		for size, manifest := range map[string]string{"minimal": minimal, "full": full} {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				server := oauthtest.New(t, func(c *oauthtest.Config) { c.ChallengeScopes = []string{"mcp:read"} })
				text := strings.NewReplacer("NAME", size+"-"+strings.ReplaceAll(name, " ", "-"), "SERVER", server.MCPURL(),
					"ISSUER", server.Issuer()).Replace(manifest)
				l := &life{T: t, plane: plane, server: server, judges: judges, tool: tool, desired: parse(t, text)}
				l.lead()
				if grants := server.Grants(); len(grants) != 3 || !grants[2].Revoked {
					t.Errorf("%d grants were left, or the last one not revoked", len(grants))
				}
			})
		}
	}
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	conn, err := harness.ParseConnection(text) // strictly
	if err == nil {
		err = unmarshalYAML(text, obj)
	}
	if err != nil {
		t.Fatal(err)
	}
	if conn.Name != obj.GetName() {
		t.Fatal(fmt.Sprint("two names: ", conn.Name, obj.GetName()))
	}
	return obj
}

// tool is a GitOps tool's way to apply.
type tool interface {
	// manager of the fields that it applies.
	manager() string
	// apply syncs and reports whether the object changed.
	apply(ctx context.Context, desired *unstructured.Unstructured) (changed bool, err error)
	prune(ctx context.Context, desired *unstructured.Unstructured) error
	// cleans reports whether a sync takes off annotations that others have set.
	cleans() bool
	// watches checks what the tool says of a connection that waits for a person.
	watches(l *life)
}
