package lifecycle

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestARefusalOfAnotherKindDoesNotTakeAGrantBack(t *testing.T) {
	o := given(granted(isSetAside, func(g *credential.Grant) { g.SetAside.Retried = true }), published)
	for _, e := range []struct {
		status int
		code   string
	}{{400, "invalid_request"}, {500, ""}} {
		err := refusing(e.status, e.code)
		Blame(epoch, o.stored(), o.Grant(), &err)
		if o.Grant().SetAside == nil {
			t.Errorf("a %d took it back", e.status)
		}
	}
}

// clientOf is a grant of a client that was had by a method.
func clientOf(method mcpoauth.RegistrationMethod) func(*credential.Grant) {
	return func(g *credential.Grant) { g.Client.Method = method }
}

// rejections have the token endpoint have answered invalid_scope n times within so long.
func rejections(n int, within time.Duration) func(*credential.Grant) {
	return func(g *credential.Grant) {
		g.Rejections, g.Rejected, g.RejectedSince = n, "invalid_scope", epoch.Add(givenRefresh-within)
	}
}

// refusing is an RFC 6749 error answer.
func refusing(status int, code string) mcpoauth.Error {
	return mcpoauth.Error{Kind: mcpoauth.Rejected, Code: mcpoauth.TokenRequestRejected, OAuthError: code, Status: status,
		Message: "the server said " + code}
}

// unanswered is anything else.
func unanswered(status int, outcome mcpoauth.Outcome) mcpoauth.Error {
	return mcpoauth.Error{Code: mcpoauth.TokenRequestFailing, Status: status, Outcome: outcome, Message: "no token"}
}

func passing(code string) mcpoauth.Error {
	e := unanswered(http.StatusBadRequest, mcpoauth.Answered)
	e.OAuthError = code
	return e
}

func asking(e mcpoauth.Error, retryAfter time.Duration) mcpoauth.Error {
	e.RetryAfter = retryAfter
	return e
}

// TestWhatAFailedRefreshMeans goes through the rows of the behaviour page that tell what becomes of a grant.
func TestWhatAFailedRefreshMeans(t *testing.T) {
	const soon, slow = FirstRetry, FirstRecheck
	for name, test := range map[string]struct {
		grant []func(*credential.Grant)
		err   mcpoauth.Error
		// setAside is why the grant is over; empty if it is not, and then the refresh fails for a reason, is tried again
		// after about a time, and counts so many unknown outcomes.
		setAside, reason string
		after            time.Duration
		unknown          int
		moved            bool
	}{
		"invalid_grant ends the grant": {err: refusing(400, "invalid_grant"), setAside: v1alpha1.ReasonRefreshRejected},
		"with any 4xx":                 {err: refusing(403, "invalid_grant"), setAside: v1alpha1.ReasonRefreshRejected},
		"or in a 200":                  {err: refusing(200, "invalid_grant"), setAside: v1alpha1.ReasonRefreshRejected},
		"invalid_client ends that of a dynamic client": {err: refusing(401, "invalid_client"),
			setAside: v1alpha1.ReasonRefreshRejected},
		"so does unauthorized_client": {err: refusing(400, "unauthorized_client"), setAside: v1alpha1.ReasonRefreshRejected},
		"a pre-registered client needs another secret": {grant: grantOf(clientOf(mcpoauth.Preregistered)),
			err: refusing(401, "invalid_client"), reason: v1alpha1.ReasonCredentialsRejected, after: slow},
		"however often that was not accepted": {grant: grantOf(clientOf(mcpoauth.Preregistered),
			rejections(MaxRejections-1, RejectedFor)), err: refusing(401, "invalid_client"),
			reason: v1alpha1.ReasonCredentialsRejected, after: slow},
		"a client whose document was not fetched is told so": {grant: grantOf(clientOf(mcpoauth.MetadataDocument)),
			err: refusing(400, "unauthorized_client"), reason: v1alpha1.ReasonRegistrationRefused, after: slow},
		"another refusal is tried again slowly": {err: refusing(400, "invalid_request"),
			reason: v1alpha1.ReasonTokenRequestRejected, after: slow},
		"for a number of tries": {
			grant: grantOf(rejections(MaxRejections-2, RejectedFor)), err: refusing(400, "invalid_scope"),
			reason: v1alpha1.ReasonTokenRequestRejected, after: slow},
		"and for hours": {grant: grantOf(rejections(99, RejectedFor-time.Second)), err: refusing(400, "invalid_scope"),
			reason: v1alpha1.ReasonTokenRequestRejected, after: slow},
		"with the same error": {grant: grantOf(rejections(99, RejectedFor)),
			err: refusing(400, "invalid_target"), reason: v1alpha1.ReasonTokenRequestRejected, after: slow},
		"and then ends the grant": {grant: grantOf(rejections(MaxRejections-1, RejectedFor)),
			err: refusing(400, "invalid_scope"), setAside: v1alpha1.ReasonTokenRequestRejected},
		"temporarily_unavailable may heal": {err: passing("temporarily_unavailable"),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"and never ends a grant": {grant: grantOf(rejections(MaxRejections-1, RejectedFor)),
			err: passing("temporarily_unavailable"), reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"nor does server_error": {grant: grantOf(rejections(MaxRejections-1, RejectedFor)),
			err: passing("server_error"), reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"a web page in place of an answer may heal": {err: unanswered(http.StatusForbidden, mcpoauth.Answered),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"so may a 500": {err: unanswered(http.StatusInternalServerError, mcpoauth.Answered),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"what was not sent costs nothing": {err: unanswered(0, mcpoauth.NotSent),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon},
		"nor does 429, which is waited for": {
			err:    asking(unanswered(http.StatusTooManyRequests, mcpoauth.NotSent), 3*time.Minute),
			reason: v1alpha1.ReasonTokenRequestFailing, after: 3 * time.Minute},
		"but not longer than a quarter of what is left": {
			err:    asking(unanswered(http.StatusTooManyRequests, mcpoauth.NotSent), time.Hour),
			reason: v1alpha1.ReasonTokenRequestFailing, after: (givenLifetime - givenRefresh) / 4},
		"so is 503": {err: asking(unanswered(http.StatusServiceUnavailable,
			mcpoauth.NotSent), time.Minute), reason: v1alpha1.ReasonTokenRequestFailing, after: time.Minute},
		"a refusal that asks for time gets it": {err: asking(refusing(400, "slow_down"),
			4*time.Minute), reason: v1alpha1.ReasonTokenRequestRejected, after: 4 * time.Minute},
		"a lost answer has an unknown outcome": {err: unanswered(0, mcpoauth.Unknown),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon, unknown: 1},
		"so has a 502": {err: unanswered(http.StatusBadGateway, mcpoauth.Unknown), reason: v1alpha1.ReasonTokenRequestFailing,
			after: soon, unknown: 1},
		"the second is the last while the token is valid": {grant: grantOf(unknownOutcomes(1)),
			err: unanswered(http.StatusGatewayTimeout, mcpoauth.Unknown), reason: v1alpha1.ReasonTokenRequestFailing,
			after: givenLifetime - givenRefresh, unknown: 2},
		"a refusal after it is definitive all the same": {grant: grantOf(unknownOutcomes(1)),
			err: refusing(400, "invalid_grant"), setAside: v1alpha1.ReasonRefreshRejected, unknown: 1},
		"what costs nothing after two leaves it at that": {grant: grantOf(unknownOutcomes(2)),
			err: unanswered(0, mcpoauth.NotSent), reason: v1alpha1.ReasonTokenRequestFailing,
			after: givenLifetime - givenRefresh, unknown: 2},
		"a redirect is looked into": {err: unanswered(http.StatusTemporaryRedirect, mcpoauth.Answered),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon, moved: true},
		"and a 404": {err: unanswered(http.StatusNotFound, mcpoauth.Answered), reason: v1alpha1.ReasonTokenRequestFailing,
			after: soon, moved: true},
		"and a 405": {err: unanswered(http.StatusMethodNotAllowed, mcpoauth.Answered),
			reason: v1alpha1.ReasonTokenRequestFailing, after: soon, moved: true},
		"and a 410": {err: unanswered(http.StatusGone, mcpoauth.Answered), reason: v1alpha1.ReasonTokenRequestFailing,
			after: soon, moved: true},
		"but not an OAuth error that comes with one": {err: refusing(404, "invalid_request"),
			reason: v1alpha1.ReasonTokenRequestRejected, after: slow},
		"a client that may not be called from here is not called often": {err: mcpoauth.Error{Kind: mcpoauth.Misconfigured,
			Code: mcpoauth.EgressDenied, Outcome: mcpoauth.NotSent, Message: "a private address"},
			reason: v1alpha1.ReasonEgressDenied, after: slow},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(append(test.grant, isClaimed)...), published)
			g, e := o.Grant(), test.err
			Blame(epoch.Add(givenRefresh), o.stored(), g, &e)
			if g.Claim != nil || g.UnknownOutcomes != test.unknown || g.AccessToken != givenToken || g.RefreshToken == "" {
				t.Errorf("the grant is %+v", g)
			}
			if test.setAside != "" {
				if g.SetAside == nil || g.SetAside.Reason != test.setAside {
					t.Errorf("set aside: %+v", g.SetAside)
				}
				return
			}
			if g.SetAside != nil {
				t.Fatalf("it is set aside: %+v", g.SetAside)
			}
			o.NoteRefreshFailure(epoch.Add(givenRefresh), &e, g.Client.Method)
			f := o.Failures.Find(StepRefresh)
			if wait := f.RetryAt.Sub(epoch.Add(givenRefresh)); f.Reason != test.reason || wait > test.after+time.Second ||
				wait < test.after*9/10 {
				t.Errorf("%s, tried again after %s", f.Reason, wait)
			}
			if e.Moved() != test.moved {
				t.Errorf("moved is %t", !test.moved)
			}
		})
	}
}

func grantOf(changes ...func(*credential.Grant)) []func(*credential.Grant) { return changes }

func TestARefusedDynamicClientIsForgottenAndAnotherIsNot(t *testing.T) {
	for name, test := range map[string]struct {
		method mcpoauth.RegistrationMethod
		err    mcpoauth.Error
		kept   bool
	}{
		"a dynamic one that the server forgot": {mcpoauth.Dynamic, refusing(401, "invalid_client"), false},
		"a dynamic one whose grant ended":      {mcpoauth.Dynamic, refusing(400, "invalid_grant"), true},
		"one from a document":                  {mcpoauth.MetadataDocument, refusing(401, "invalid_client"), true},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(clientOf(test.method)), published)
			g := o.Grant()
			o.stored().PutRegistration(credential.Registration{Issuer: g.Issuer, RedirectURI: g.RedirectURI, Client: g.Client})
			Blame(epoch, o.stored(), g, &test.err)
			if kept := o.stored().Registration(g.Issuer, g.RedirectURI) != nil; kept != test.kept {
				t.Errorf("the registration is kept: %t", kept)
			}
		})
	}
}
