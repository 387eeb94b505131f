package controller

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// withQuery has the metadata name an authorization endpoint with a query; none if it is empty.
func (w *world) withQuery(query string) {
	endpoint := w.server.URL + oauthtest.AuthorizePath
	if query != "" {
		endpoint += "?" + query
	}
	w.server.Handle(w.server.MetadataPath(), func(rw http.ResponseWriter, _ *http.Request) {
		md := w.server.Metadata()
		md["authorization_endpoint"] = endpoint
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(md)
	})
}

// retried reconciles when the failed step is tried again.
func (w *world) retried() {
	w.t.Helper()
	w.untilRetry()
	w.reconcile()
}

func (w *world) wantNoLink() {
	w.t.Helper()
	if link := w.get().Status.AuthorizationURL; link != "" {
		w.t.Errorf("the link %s is offered", link)
	}
	if held, err := w.r.Store.Get(w.t.Context(), w.get().UID); err != nil || held != nil && held.Authorization.Offer != nil {
		w.t.Errorf("an offer is stored, or %v", err)
	}
}

func TestALinkThatCannotWorkIsNotOffered(t *testing.T) {
	for name, test := range map[string]struct {
		query string
		spec  func(*v1alpha1.MCPConnection)
		want  string
	}{
		"another resource":  {query: "resource=https://other.example/mcp", want: "spec.compatibility.resource.mode"},
		"a state":           {query: "state=x", want: "the parameter state"},
		"a prompt":          {query: "prompt=login", spec: prompting, want: "remove it from spec.compatibility.authorizationParameters"},
		"another challenge": {query: "code_challenge_method=plain", want: "the parameter code_challenge_method"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.withQuery(test.query)
			if test.spec == nil {
				test.spec = func(*v1alpha1.MCPConnection) {}
			}
			w.apply(test.spec)
			w.want(v1alpha1.ConditionDiscovered, isFalse, v1alpha1.ReasonInvalidMetadata)
			w.want(ready, isFalse, v1alpha1.ReasonInvalidMetadata)
			if c := findCondition(w.get().Status.Conditions, ready); !strings.Contains(c.Message, test.want) {
				t.Errorf("the message is %q", c.Message)
			}
			w.wantNoLink()
			if n := w.server.Count(oauthtest.RegisterPath); n != 0 {
				t.Errorf("%d clients are registered for it", n)
			}
			first := w.get().Status.Failure.RetryAt
			w.retried()
			if f := w.get().Status.Failure; f.Attempts != 2 || f.RetryAt.Sub(first.Time) <= firstRecheck {
				t.Errorf("the recheck does not back off: %+v", f)
			}
			w.withQuery("")
			w.retried()
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		})
	}
}

func prompting(c *v1alpha1.MCPConnection) {
	c.Spec.Compatibility = &v1alpha1.CompatibilitySpec{AuthorizationParameters: map[string]v1alpha1.ParameterValue{"prompt": "consent"}}
}

func TestAnEndpointThatSaysTheSameIsNotToldAgain(t *testing.T) {
	w := newWorld(t)
	w.withQuery("tenant=a&prompt=consent&" + url.Values{"resource": {w.server.MCPURL()}}.Encode())
	w.apply(prompting)
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent() // the server refuses a query that repeats a parameter
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestALinkForAnotherClientIsNotOffered(t *testing.T) {
	w := newWorld(t)
	w.withQuery("client_id=somebody-else")
	w.apply()
	w.want(authorized, isFalse, v1alpha1.ReasonInvalidMetadata)
	w.want(ready, isFalse, v1alpha1.ReasonInvalidMetadata)
	w.wantNoLink()
	for range 3 {
		w.retried()
	}
	if n := w.server.Count(oauthtest.RegisterPath); n != 1 {
		t.Errorf("%d clients are registered for it", n)
	}
	if f := w.get().Status.Failure; f.Attempts != 4 {
		t.Errorf("the failure is %+v", f)
	}
	w.withQuery("")
	w.retried()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestATokenKeepsBeingRefreshedWhereNoLinkCanWork(t *testing.T) {
	w := connected(t)
	w.withQuery("state=x")
	w.annotate(v1alpha1.AnnotationReauthorize, "1")
	w.want(v1alpha1.ConditionDiscovered, isFalse, v1alpha1.ReasonInvalidMetadata)
	w.wantNoLink()
	before := w.secret()[v1alpha1.KeyAccessToken]
	w.untilRefresh()
	w.reconcile()
	if after := w.secret()[v1alpha1.KeyAccessToken]; after == before {
		t.Error("the token was not refreshed")
	}
	if c := findCondition(w.get().Status.Conditions, ready); c.Status != isTrue {
		t.Errorf("Ready is %+v", c)
	}
}
