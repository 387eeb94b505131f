package plugin_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// object is a connection as some operator's API server has it.
func object(name string, more map[string]any) map[string]any {
	o := map[string]any{
		"apiVersion": "mcp-connection.dev/v1alpha1", "kind": "MCPConnection",
		"metadata": map[string]any{"name": name, "namespace": "agents", "uid": "3def5901-6a8d-46b1-97e1-375c93829d0e",
			"generation": 1, "resourceVersion": "7"},
		"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp"},
	}
	for key, value := range more {
		o[key] = value
	}
	return o
}

func list(items ...any) map[string]any {
	return map[string]any{"apiVersion": "mcp-connection.dev/v1alpha1", "kind": "MCPConnectionList",
		"metadata": map[string]any{"resourceVersion": "8"}, "items": items}
}

func condition(kind, status, reason, message string) map[string]any {
	return map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
		"lastTransitionTime": "2026-12-01T11:00:00Z"}
}

const connections = group + "/namespaces/agents/mcpconnections"

// newer is an object of an operator that knows more than this plugin.
func newer() map[string]any {
	return object("newer", map[string]any{
		"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp", "quantum": map[string]any{"entangled": true}},
		"status": map[string]any{
			"observedGeneration": 1, "next": map[string]any{"step": "entangle"},
			"conditions": []any{condition("Ready", "False", "EntanglementPending", "Not yet."),
				condition("Entangled", "Unknown", "NotMeasured", "")},
		},
	})
}

func TestAnotherVersionOfTheOperatorBreaksNothing(t *testing.T) {
	older := object("older",
		map[string]any{"status": map[string]any{"conditions": []any{condition("Ready", "True", "Succeeded", "")}}})
	c := cluster{
		"GET " + connections: list(newer(), older), "GET " + connections + "/newer": newer(), "GET " + connections +
			"/older": older,
	}
	on(t, c, nil, "", "list").want(t, 0, "newer False EntanglementPending", "older True Succeeded")
	on(t, c, nil, "", "status", "newer").want(t, 0, "✗ Ready EntanglementPending", "? Entangled NotMeasured")
	on(t, c, nil, "", "status", "older").want(t, 0, "✓ Ready Succeeded")
	on(t, c, nil, "", "wait", "older").want(t, 0, "agents/older is Ready")
	on(t, c, nil, "", "list", "-o", "yaml").want(t, 0, "entangled: true", "step: entangle")
	on(t, c, nil, "", "list", "-o", "json").want(t, 0, `"entangled": true`)
	if r := on(t, c, nil, "", "list", "-o",
		"name"); r.out != "mcpconnection.mcp-connection.dev/newer\nmcpconnection.mcp-connection.dev/older\n" {
		t.Error(r.out)
	}
	r := on(t, c, nil, "", "wait", "newer", "--timeout", "50ms")
	r.want(t, 3, "agents/newer: --timeout passed; EntanglementPending: Not yet.")
}

func status(code int32, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: code,
		Reason: reason, Message: message}
}

func TestWhatTheAPIServerRefusesIsOneLine(t *testing.T) {
	for name, test := range map[string]struct {
		cluster http.Handler
		want    string
	}{
		"without CRD": {cluster{}, "this cluster does not know MCPConnections: install the operator first"},
		"unknown user": {cluster{"GET " + connections: status(401, metav1.StatusReasonUnauthorized, "Unauthorized")},
			"the cluster does not know who you are: log in again"},
		"without rights": {cluster{"GET " + connections: status(403, metav1.StatusReasonForbidden,
			`mcpconnections is forbidden: User "eve" cannot list`)}, `User "eve" cannot list: ask for that right`},
		"an error of its": {cluster{"GET " + connections: status(500, metav1.StatusReasonInternalError, "etcd is\ngone")},
			"etcd is gone"},
		"no API server": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>login</html>"))
		}), "kubectl mcpc: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := on(t, test.cluster, nil, "", "list")
			r.want(t, 1, test.want)
			r.oneLine(t)
		})
	}
}

func TestAWrongCommandLineEndsWithTwo(t *testing.T) {
	for want, arguments := range map[string][]string{
		`unknown command "nope"`:            {"nope"},
		"accepts 1 arg(s), received 0":      {"status"},
		"unknown flag: --nope":              {"list", "--nope"},
		"--output is one of":                {"list", "-o", "xml"},
		"must be a whole one":               {"create", "x", "mcp.example.com"},
		"remove everything up to @":         {"create", "x", "https://user@mcp.example.com/mcp"},
		"remove everything from # on":       {"create", "x", "https://mcp.example.com/mcp#"},
		`"A_B" is no name for a connection`: {"create", "A_B", "https://mcp.example.com/mcp"},
		"is not an address range": {"create", "x", "https://mcp.example.com/mcp", "--egress-allow-cidrs",
			"10.0.0.1"},
		"add --issuer": {"create", "x", "https://mcp.example.com/mcp", "--no-discovery", "--credentials-secret", "app"},
	} {
		r := offline(t, arguments...)
		r.want(t, 2, want)
		r.oneLine(t)
	}
}

func TestRevokeAsksAndDoesNothingWithoutAYes(t *testing.T) {
	c := cluster{"GET " + connections + "/notion": object("notion", nil)}
	terminal := &kube.Terminal{Is: true, Width: 80}
	for _, answer := range []string{"n\n", "\n", "", "yess\n"} {
		on(t, c, terminal, answer, "revoke", "notion").want(t, 1, "Revoke the grant of agents/notion",
			"at https://mcp.example.com/mcp", "[y/N]", "kubectl mcpc: nothing was revoked")
	}
	patched := false
	c["PATCH "+connections+"/notion"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		patched = r.URL.Query().Get("fieldManager") == kube.FieldManager
		c["GET "+connections+"/notion"] = status(404, metav1.StatusReasonNotFound, "gone")
		cluster{"PATCH " + r.URL.Path: object("notion", nil)}.ServeHTTP(w, r)
	})
	on(t, c, terminal, "y\n", "revoke", "notion").want(t, 1, "kubectl mcpc: MCPConnection agents/notion was "+
		"deleted meanwhile")
	if !patched {
		t.Error("no request was made in the plugin's name")
	}
}

func TestColoursStandOnTerminalsOnly(t *testing.T) {
	c := cluster{"GET " + connections: list(newer()), "GET " + connections + "/newer": newer()}
	for _, arguments := range [][]string{{"list"}, {"status", "newer"}} {
		if r := on(t, c, nil, "", arguments...); r.code != 0 || strings.Contains(r.out, "\x1b") {
			t.Errorf("%v: colours without a terminal: %q", arguments, r.out)
		}
		if r := on(t, c, &kube.Terminal{Is: true, Colour: true, Width: 80}, "", arguments...); !strings.Contains(r.out,
			"\x1b[31m") {
			t.Errorf("%v: no colours on a terminal: %q", arguments, r.out)
		}
	}
}

func TestAnOutageOfTheAPIServerEndsNoWait(t *testing.T) {
	c, looks := cluster{}, 0
	c["GET "+connections+"/notion"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch looks++; {
		case looks > 1 && looks < 5:
			cluster{"GET " + r.URL.Path: status(503, metav1.StatusReasonServiceUnavailable, "etcd is gone")}.ServeHTTP(w, r)
		case looks < 7:
			cluster{"GET " + r.URL.Path: object("notion", nil)}.ServeHTTP(w, r)
		default:
			cluster{"GET " + r.URL.Path: object("notion",
				map[string]any{"status": map[string]any{"conditions": []any{condition("Ready", "True", "Succeeded",
					"")}}})}.ServeHTTP(w, r)
		}
	})
	r := on(t, c, nil, "", "wait", "notion")
	r.want(t, 0, "asking again", "agents/notion is Ready")
	if strings.Count(r.err, "asking again") != 1 {
		t.Errorf("an outage is told once: %s", r.err)
	}
}

func TestALinkThatIsNoWebAddressIsNotOpened(t *testing.T) {
	o := object("notion", map[string]any{"status": map[string]any{
		"authorizationURL": "file:///etc/passwd", "conditions": []any{condition("Ready", "False", "ConsentRequired", "")}}})
	r := on(t, cluster{"GET " + connections + "/notion": o}, nil, "", "authorize", "notion")
	r.want(t, 1, "is no http or https URL, so it is not opened")
	if r.out != "" {
		t.Error(r.out)
	}
}

func TestAWatchedScreenIsDrawnOverTheLastOne(t *testing.T) {
	c, looks := cluster{}, 0
	c["GET "+connections+"/newer"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch looks++; {
		case looks < 4:
			cluster{"GET " + r.URL.Path: newer()}.ServeHTTP(w, r)
		case looks == 4:
			cluster{"GET " + r.URL.Path: status(503, metav1.StatusReasonServiceUnavailable, "etcd is gone")}.ServeHTTP(w, r)
		default:
			cluster{"GET " + r.URL.Path: status(404, metav1.StatusReasonNotFound, "gone")}.ServeHTTP(w, r)
		}
	})
	r := on(t, c, &kube.Terminal{Is: true, Width: 80}, "", "status", "newer", "--watch")
	r.want(t, 1, "etcd is gone", "kubectl mcpc: MCPConnection agents/newer was deleted meanwhile")
	if strings.Count(r.out, "\x1b[2J") != 1 || strings.Count(r.out, "\x1b[H") < 2 || !strings.HasSuffix(r.out, "\x1b[J") {
		t.Errorf("%q", r.out)
	}
	looks = 0
	low := on(t, c, &kube.Terminal{Is: true, Width: 80, Height: 4}, "", "status", "newer", "--watch").out
	if first := strings.Split(low, "\x1b[H")[1]; strings.Count(first, "\n") != 3 || !strings.Contains(first, "…") {
		t.Errorf("a screen is higher than its terminal: %q", first)
	}
	looks = 0
	if r = on(t, c, &kube.Terminal{Is: true, Width: 80, Dumb: true}, "", "status", "newer", "--watch"); strings.Contains(
		r.out, "\x1b") {
		t.Errorf("a terminal without a cursor is sent sequences: %q", r.out)
	}
	looks = 0
	if r = on(t, c, nil, "", "status", "newer", "--watch"); strings.Count(r.out, "agents/newer  not Ready") != 1 ||
		strings.Contains(r.out, "\x1b") {
		t.Errorf("without a terminal an unchanged screen follows itself: %q", r.out)
	}
}

// ask ends a context when it is read from, and never answers.
type ask struct {
	cancel context.CancelCauseFunc
	io.Reader
}

func (a ask) Read(p []byte) (int, error) {
	a.cancel(&kube.SignalError{Signal: syscall.SIGINT})
	return a.Reader.Read(p)
}

func TestCtrlCEndsAQuestion(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	silent, person := io.Pipe()
	defer func() { _ = person.Close() }()
	c := cluster{"GET " + connections + "/notion": object("notion", nil)}
	reading(ctx, t, c, &kube.Terminal{Is: true, Width: 80}, ask{cancel, silent}, "revoke", "notion").want(t, 130, "[y/N]",
		"kubectl mcpc: interrupted")
}

func TestResumeLeavesNoFieldBehind(t *testing.T) {
	suspended := object("notion", map[string]any{"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp",
		"suspend": true}})
	body := ""
	c := cluster{"GET " + connections + "/notion": suspended, "PATCH " + connections +
		"/notion": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read, _ := io.ReadAll(r.Body)
		body = string(read)
		cluster{"PATCH " + r.URL.Path: object("notion", nil)}.ServeHTTP(w, r)
	})}
	on(t, c, nil, "", "resume", "notion").want(t, 0, "agents/notion is resumed")
	if !strings.Contains(body, `"suspend":null`) {
		t.Error(body)
	}
}
