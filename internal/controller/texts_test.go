package controller

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestASentenceEndsWithAStopAndAValueWithNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " a ": "a.", "a.": "a.", "set `b: c/`": "set `b: c/`", `set b: "c/"`: `set b: "c/"`, "apply this:\na: b\n": "apply this:\na: b", "a (b)": "a (b).",
	} {
		if got := sentence(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// quotedLast is the value that a message ends with.
func quotedLast(t testing.TB, message string) string {
	t.Helper()
	parts := strings.Split(message, `"`)
	if len(parts) < 3 || parts[len(parts)-1] != "" {
		t.Fatalf("the message ends with no value: %s", message)
	}
	return parts[len(parts)-2]
}

func TestTheIssuerOfAMessageIsPastedAsItIs(t *testing.T) {
	w := newWorld(t)
	w.server.Handle("/.well-known/oauth-authorization-server", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(rw, `{"issuer":"%[1]s/","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","code_challenge_methods_supported":["S256"]}`, w.server.URL)
	})
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonIssuerMismatch)
	for _, condition := range []string{ready, discovered, v1alpha1.ConditionStalled} {
		if pasted := quotedLast(t, findCondition(w.get().Status.Conditions, condition).Message); pasted != w.server.URL+"/" {
			t.Errorf("%s holds %q", condition, pasted)
		}
	}
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: w.server.URL + "/"}
	})
	w.want(discovered, isTrue, v1alpha1.ReasonSucceeded)
}

func TestWhoRegistersAClientByHandIsToldTheRedirectURI(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.NoRegistration = true })
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonNoRegistrationMethod)
	uri := credential.RedirectURI(w.pages.URL)
	if got := quotedLast(t, findCondition(w.get().Status.Conditions, ready).Message); got != uri {
		t.Errorf("the message ends with %s, want %s", got, uri)
	}
	if c := w.get().Status.Client; c == nil || c.RedirectURI != uri {
		t.Errorf("status says %+v", c)
	}
	w = connected(t)
	if got := w.get().Status.Client.RedirectURI; got != credential.RedirectURI(w.pages.URL) {
		t.Errorf("status says %q of a client that there is", got)
	}
}

func TestTheRedirectURIStandsInEachMessageThatSendsSomebodyToAConsole(t *testing.T) {
	uri := credential.RedirectURI(givenExternal)
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(epoch)}
	for _, code := range []mcpoauth.Code{mcpoauth.NoRegistrationMethod, mcpoauth.RegistrationRefused} {
		o := given(foundServer)
		r.registrationFailed(o, initialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code, Message: "register a client by hand"})
		if got := quotedLast(t, o.failures.find(stepRegister).Message); got != uri {
			t.Errorf("%s ends with %s", code, got)
		}
		r.registrationFailed(o, initialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code, Message: "allow \"" + uri + "\""})
		if got := o.failures.find(stepRegister).Message; got != "allow \""+uri+"\"" {
			t.Errorf("%s says it twice: %s", code, got)
		}
		o = given(foundServer, noURL)
		r.registrationFailed(o, initialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code, Message: "no"})
		if got := o.failures.find(stepRegister).Message; got != "no." {
			t.Errorf("without an address it says %q", got)
		}
	}
	if got := given(unattended).withRedirectURI("no"); got != "no" {
		t.Errorf("a grant without a person wants one: %q", got)
	}
}

func TestAnUnknownAnnotationGetsOneEvent(t *testing.T) {
	w := connected(t)
	for len(w.events.Events) > 0 {
		<-w.events.Events
	}
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Annotations = map[string]string{v1alpha1.Prefix + "refesh": "1", v1alpha1.Prefix + "adopt": "a/b", "example.com/mine": "x", v1alpha1.AnnotationRefresh: "1"}
	})
	for range 3 {
		w.untilRefresh()
		w.reconcile()
		w.restart()
	}
	var told []string
	for len(w.events.Events) > 0 {
		if event := <-w.events.Events; strings.Contains(event, "UnknownAnnotation") {
			told = append(told, event)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], v1alpha1.Prefix+"adopt") || !strings.Contains(told[1], v1alpha1.Prefix+"refesh") {
		t.Errorf("the events are %q", told)
	}
	if got := w.get().Status.UnknownAnnotations; !slices.Equal(got, []string{v1alpha1.Prefix + "adopt", v1alpha1.Prefix + "refesh"}) {
		t.Errorf("status says %q", got)
	}
	if conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = nil }); conn.Status.UnknownAnnotations != nil {
		t.Errorf("status still says %q", conn.Status.UnknownAnnotations)
	}
}

func TestAnUnknownAnnotationWakesAConnectionAtRest(t *testing.T) {
	o := given(granted(), published)
	o.conn = reported(epoch, o)
	if _, rests := resting(epoch.Add(time.Second), o); !rests {
		t.Fatal("it does not rest")
	}
	o.conn.Annotations[v1alpha1.Prefix+"refesh"] = "1"
	if _, rests := resting(epoch.Add(time.Second), o); rests {
		t.Error("it rests, and nobody says that the annotation is not known")
	}
}
