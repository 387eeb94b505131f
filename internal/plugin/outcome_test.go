package plugin_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// asked is a cluster whose operator answers the request that an annotation makes: then is the object at each look after
// it.
func asked(annotation string, before map[string]any, then func(value string, look int) map[string]any) cluster {
	const path = connections + "/notion"
	c, value, look := cluster{}, "", 0
	c["PATCH "+path] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var change metav1.PartialObjectMetadata
		_ = json.NewDecoder(r.Body).Decode(&change)
		value = change.Annotations[annotation]
		_ = json.NewEncoder(w).Encode(before)
	})
	c["GET "+path] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := before
		if value != "" {
			look++
			now = then(value, look)
		}
		_ = json.NewEncoder(w).Encode(now)
	})
	c["GET /api/v1/namespaces/agents/events"] = told()
	return c
}

// annotated is an object with an annotation.
func annotated(o map[string]any, annotation, value string) map[string]any {
	o["metadata"].(map[string]any)["annotations"] = map[string]any{annotation: value}
	return o
}

// handled is an object whose operator has acted on a request.
func handled(request, value string, status map[string]any, more map[string]any) map[string]any {
	all := map[string]any{"lastHandled": map[string]any{request: value}}
	maps.Copy(all, status)
	o := object("notion", map[string]any{"status": all})
	maps.Copy(o, more)
	return annotated(o, v1alpha1.Prefix+request, value)
}

func conditions(all ...any) map[string]any { return map[string]any{"conditions": all} }

// told are events about a connection.
func told(reasons ...string) map[string]any {
	items := []any{}
	for _, reason := range reasons {
		items = append(items, map[string]any{"metadata": map[string]any{"name": "e", "uid": "e", "resourceVersion": "1"},
			"reason": reason, "message": "The server has no revocation endpoint."})
	}
	return map[string]any{"apiVersion": "v1", "kind": "EventList", "metadata": map[string]any{}, "items": items}
}

func TestARevocationIsJudgedByWhatStatusShows(t *testing.T) {
	consent := condition("Ready", "False", "ConsentRequired", "")
	before := object("notion",
		map[string]any{"status": map[string]any{"token": map[string]any{"secretName": "notion-token",
			"secretResourceVersion": "3"}}})
	with := func(status map[string]any, more map[string]any) func(string, int) map[string]any {
		return func(value string, _ int) map[string]any { return handled("revoke", value, status, more) }
	}
	merged := func(status map[string]any, key string, value any) map[string]any { status[key] = value; return status }
	failure := map[string]any{"step": "publish", "retryAt": "2026-12-01T13:00:00Z",
		"message": "The Secret still shows a token."}
	token := func(version string) map[string]any {
		return map[string]any{"secretName": "notion-token", "secretResourceVersion": version,
			"issuedAt": "2026-12-01T12:00:00Z"}
	}
	for name, test := range map[string]struct {
		then func(string, int) map[string]any
		code int
		says string
	}{
		"an empty Secret is done": {with(conditions(consent), nil), 0, "has no grant any more"},
		"a token that still stands is none": {with(merged(conditions(consent), "failure", failure), nil), 3,
			"--timeout passed; The Secret still shows a token."},
		"a failure behind another is none": {
			with(merged(merged(conditions(consent), "failure", map[string]any{"step": "probe"}), "otherFailures",
				[]any{failure}), nil), 3, "still shows"},
		"a write that waits for an edit": {
			with(merged(conditions(consent), "failure", map[string]any{"step": "withdrawToken", "message": "Too large."}), nil),
			1, "agents/notion: Too large."},
		"a suspended one that waits is none": {with(merged(conditions(condition("Ready", "False", "Suspended", "")),
			"scopes", []any{"mcp:read"}), map[string]any{"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp",
			"suspend": true}}), 3, "Suspended"},
		"an account of a grant that waits": {with(merged(conditions(consent), "authorizedBy", "alice"), nil), 3,
			"ConsentRequired"},
		"a new token of no person is done": {with(merged(conditions(condition("Ready", "True", "Succeeded", "")),
			"token", token("4")), nil), 0, "has a new token, in place of the one that was revoked"},
		"the old token of no person is none": {with(merged(conditions(condition("Ready", "True", "Succeeded", "")),
			"token", token("3")), nil), 3, "Succeeded"},
		"somebody's later request is waited for": {func(string, int) map[string]any {
			return handled("revoke", "theirs", conditions(consent), nil)
		}, 0, "somebody asked for the same meanwhile"},
		"a request that is taken off": {func(string, int) map[string]any { return object("notion", nil) }, 1,
			"took the annotation mcp-connection.dev/revoke off"},
	} {
		t.Run(name, func(t *testing.T) {
			c := asked(v1alpha1.AnnotationRevoke, before, test.then)
			on(t, c, nil, "", "revoke", "notion", "--yes", "--timeout", "100ms").want(t, test.code, test.says)
		})
	}
}

func TestAServersRefusalToRevokeIsToldWheneverItsEventComes(t *testing.T) {
	for name, test := range map[string]struct {
		events func(look int) any
		code   int
		says   string
	}{
		"an event that is late": {func(look int) any { return told([]string{"RevocationFailed"}[:look/5]...) }, 1,
			"is empty, but: The server has no revocation endpoint."},
		"an event of old": {func(int) any { return told("RevocationFailed") }, 0, "has no grant any more"},
		"events that are not had": {func(int) any {
			return status(403, metav1.StatusReasonForbidden, `User "eve" cannot list`)
		}, 1, `could not be checked: User "eve" cannot list`},
	} {
		t.Run(name, func(t *testing.T) {
			c := asked(v1alpha1.AnnotationRevoke, object("notion", nil), func(value string, _ int) map[string]any {
				return handled("revoke", value, conditions(condition("Ready", "False", "ConsentRequired", "")), nil)
			})
			look := 0
			const path = "GET /api/v1/namespaces/agents/events"
			c[path] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				look++
				cluster{path: test.events(look)}.ServeHTTP(w, r)
			})
			on(t, c, nil, "", "revoke", "notion", "--yes").want(t, test.code, test.says)
		})
	}
}

func TestAServerThatNeedsNoAuthorizationIsNotAskedForALink(t *testing.T) {
	const reason = "AuthorizationNotRequired"
	c := asked(v1alpha1.AnnotationReauthorize, object("notion", nil), func(value string, _ int) map[string]any {
		return handled("reauthorize", value, conditions(condition("Ready", "True", reason, ""),
			condition("Authorized", "True", reason, "")), nil)
	})
	on(t, c, nil, "", "reauthorize", "notion", "--timeout", "1s").want(t, 0, "agents/notion needs no authorization")
}

func TestARefreshThatIsRefusedForGoodIsNoNothing(t *testing.T) {
	before := object("notion",
		map[string]any{"status": map[string]any{"token": map[string]any{"refreshAt": "2026-12-01T13:00:00Z"}}})
	c := asked(v1alpha1.AnnotationRefresh, before, func(value string, _ int) map[string]any {
		return handled("refresh", value, conditions(condition("Ready", "False", "RefreshRejected", "The server "+
			"ended the grant.")), nil)
	})
	on(t, c, nil, "", "refresh", "notion").want(t, 1, "agents/notion was not refreshed, and will not be; "+
		"RefreshRejected: The server ended the grant.")
}

func TestAuthorizeEndsWithANewGrantOnly(t *testing.T) {
	ready, yes := condition("Ready", "True", "Succeeded", ""), condition("Authorized", "True", "Succeeded", "")
	wanting := condition("Authorized", "False", "ConsentRequired", "")
	older := condition("Authorized", "True", "Succeeded", "")
	older["observedGeneration"] = 0
	pending := func(o map[string]any) map[string]any { return annotated(o, v1alpha1.AnnotationReauthorize, "theirs") }
	of := func(all ...any) map[string]any { return object("notion", map[string]any{"status": conditions(all...)}) }
	suspended := of(condition("Ready", "False", "Suspended", ""))
	suspended["spec"] = map[string]any{"serverURL": "https://mcp.example.com/mcp", "suspend": true}
	for name, test := range map[string]struct {
		object map[string]any
		code   int
		says   string
	}{
		"a grant that holds": {of(ready, yes), 0, "agents/notion is Ready"},
		"a request that was acted on": {handled("reauthorize", "theirs", conditions(ready, yes), nil), 0,
			"agents/notion is Ready"},
		"an old token while a link is asked for":    {pending(of(ready, yes)), 3, "· Succeeded"},
		"an old token while a consent is wanted":    {of(ready, wanting), 3, "--timeout passed"},
		"a grant for an earlier spec":               {of(ready, older), 3, "--timeout passed"},
		"a suspended one while a link is asked for": {pending(suspended), 1, "is suspended: kubectl mcpc resume"},
		"a stalled one while a link is asked for": {pending(of(condition("Ready", "False", "EgressDenied", ""),
			condition("Stalled", "True", "EgressDenied", ""))), 1, "waits for an edit; EgressDenied"},
		"an outcome of old while a link is asked for": {pending(of(condition("Ready", "False", "UnsupportedTokenType", ""),
			condition("Stalled", "True", "UnsupportedTokenType", ""), condition("Authorized", "False", "UnsupportedTokenType",
				""))), 3, "--timeout passed"},
		"an operator without an address, and an old token": {of(condition("Ready", "True", "ConsentUnavailable", ""),
			wanting), 1, "(ConsentUnavailable)"},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, cluster{"GET " + connections + "/notion": test.object}, nil, "", "authorize", "notion", "--timeout",
				"100ms").want(t, test.code, test.says)
		})
	}
}

func TestATimeoutWhileTheAPIServerIsAskedIsOne(t *testing.T) {
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client has gone once the body is read
		<-r.Context().Done()
	})
	get, patch := "GET "+connections+"/notion", "PATCH "+connections+"/notion"
	on(t, cluster{get: slow}, nil, "", "wait", "notion", "--timeout", "50ms").want(t, 3, "--timeout passed")
	on(t, cluster{get: object("notion", nil), patch: slow}, nil, "", "refresh", "notion", "--timeout", "50ms").want(t, 3,
		"--timeout passed")
}
