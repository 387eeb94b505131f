package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestASentenceEndsWithAStopAndAValueWithNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " a ": "a.", "a.": "a.", "set `b: c/`": "set `b: c/`", `set b: "c/"`: `set b: "c/"`,
		"apply this:\na: b\n": "apply this:\na: b", "a (b)": "a (b).",
	} {
		if got := Sentence(text); got != want {
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

func TestTheRedirectURIStandsInEachMessageThatSendsSomebodyToAConsole(t *testing.T) {
	uri := credential.RedirectURI(givenExternal)
	for _, code := range []mcpoauth.Code{mcpoauth.NoRegistrationMethod, mcpoauth.RegistrationRefused} {
		o := given(foundServer)
		o.RegistrationFailed(epoch, InitialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code,
			Message: "register a client by hand"})
		if got := quotedLast(t, o.Failures.Find(StepRegister).Message); got != uri {
			t.Errorf("%s ends with %s", code, got)
		}
		o.RegistrationFailed(epoch, InitialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code,
			Message: "allow \"" + uri + "\""})
		if got := o.Failures.Find(StepRegister).Message; got != "allow \""+uri+"\"" {
			t.Errorf("%s says it twice: %s", code, got)
		}
		o = given(foundServer, noURL)
		o.RegistrationFailed(epoch, InitialAccessToken{}, &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: code,
			Message: "no"})
		if got := o.Failures.Find(StepRegister).Message; got != "no." {
			t.Errorf("without an address it says %q", got)
		}
	}
	if got := given(nonInteractive).WithRedirectURI("no"); got != "no" {
		t.Errorf("a grant without a person wants one: %q", got)
	}
}

func TestAnUnknownAnnotationWakesAConnectionAtRest(t *testing.T) {
	o := given(granted(), published)
	o.Conn = reported(epoch, o)
	if _, rests := resting(epoch.Add(time.Second), o); !rests {
		t.Fatal("it does not rest")
	}
	o.Conn.Annotations[v1alpha1.Prefix+"refesh"] = "1"
	if _, rests := resting(epoch.Add(time.Second), o); rests {
		t.Error("it rests, and nobody says that the annotation is not known")
	}
}
