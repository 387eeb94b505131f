package callback

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// maxQuery leaves room for a code, its state and issuer, and for what servers add.
	maxQuery   = 16 << 10
	maxState   = 256
	maxCode    = 8 << 10
	maxMessage = mcpoauth.MaxAuthorizationErrorText
)

var (
	errMalformed = errors.New("the response is not an authorization response")
	errIssuer    = errors.New("the response came from another issuer")
	errRecorded  = errors.New("the response was recorded before")
	errBusy      = errors.New("another response is being dealt with")
)

// callback is the redirect URI: it records the response to a request of this browser, once.
func (s *Server) callback(x *exchange) {
	if !s.allow(x, http.MethodGet, http.MethodHead) {
		return
	}
	if x.r.Method == http.MethodHead {
		x.status = http.StatusOK
		x.w.WriteHeader(x.status)
		return
	}
	if prefetch(x.r) {
		s.render(x, page{
			status: http.StatusServiceUnavailable, title: "Not in advance",
			text: "This page cannot be loaded in advance.",
		})
		return
	}
	ticket, err := s.receive(x)
	if err != nil {
		s.callbackProblem(x, err)
		return
	}
	x.redirect(s.prefix + credential.PathConnect + ticket)
}

// receive checks and records the response, and returns the ticket to go back to.
func (s *Server) receive(x *exchange) (string, error) {
	q, err := parseResponse(x.r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	// The response can be used once: it is recorded even if the person closes the tab now.
	ctx := context.WithoutCancel(x.r.Context())
	v, err := s.visit(ctx, q.Get("state"))
	if err != nil {
		return "", err
	}
	in := incoming{query: q, browser: s.browserHash(x.r), user: x.user, now: s.o.Now(), closed: v.closed(viewOpen)}
	if _, err = in.find(&v.held.Authorization); err == nil {
		err = s.permit(ctx, x, v)
	}
	if err == nil {
		err = s.update(ctx, v, in.record)
	}
	if in.known {
		x.about(v)
	}
	switch {
	case errors.Is(err, errRecorded):
		return in.ticket, nil
	case err != nil:
		return "", err
	}
	s.audit(x, in.outcome)
	if in.outcome == auditForeignIssuer {
		return "", errIssuer
	}
	return in.ticket, nil
}

// incoming is one authorization response on its way into the credential Secret.
type incoming struct {
	query   url.Values
	browser string
	user    string
	now     time.Time
	closed  error

	// ticket of the request that this answers.
	ticket string
	// known is set once the state was found.
	known bool
	// outcome is what the audit log says of what was recorded.
	outcome string
}

// find returns the request that this answers, or says why the answer is not recorded.
func (in *incoming) find(a *credential.Authorization) (*credential.Request, error) {
	in.ticket = ""
	state := in.query.Get("state")
	request, err := a.PendingRequest(state, in.browser, in.now)
	if errors.Is(err, credential.ErrUnknownState) {
		if in.ticket, err = a.Recorded(state, in.browser); err == nil {
			err = errRecorded
		}
	}
	in.known = !errors.Is(err, credential.ErrUnknownState)
	switch {
	case err != nil:
		return nil, err
	case in.closed != nil:
		return nil, in.closed
	case request.User != in.user && in.user == "":
		return nil, errNoUser
	case request.User != in.user:
		return nil, errOtherUser
	case a.Response != nil && a.Response.Code != "":
		// The first code wins: it may be on the wire already.
		return nil, errBusy
	}
	return request, nil
}

// record is run again after a conflict, on what is there then.
func (in *incoming) record(a *credential.Authorization) error {
	request, err := in.find(a)
	if err != nil {
		return err
	}
	response, err := in.response(*request)
	if err != nil {
		return err
	}
	in.ticket = request.Ticket
	a.Record(response)
	return nil
}

// response makes what is stored: a code, or why there is none. Text of a server that is not the expected issuer is
// dropped.
func (in *incoming) response(request credential.Request) (credential.Response, error) {
	r := credential.Response{Request: request, ReceivedAt: in.now}
	code, err := mcpoauth.CheckAuthorizationResponse(in.query, request.Binding.Issuer,
		request.Binding.IssParameterSupported)
	failure := mcpoauth.AsError(err)
	switch {
	case err == nil && code != "" && len(code) <= maxCode:
		in.outcome, r.Code = auditConsented, code
	case failure != nil && failure.Code == mcpoauth.IssuerParameterMismatch:
		in.outcome, r.Reason = auditForeignIssuer, v1alpha1.ReasonIssuerParameterMismatch
		r.Message = mcpoauth.Sanitize(failure.Message, maxMessage)
	case failure != nil && failure.OAuthError != "":
		in.outcome, r.Reason = auditOf(failure), string(failure.Code)
		text := mcpoauth.AfterAuthorizationError(failure, request.Binding.AuthorizationRequest("", ""),
			request.Binding.Client.Method)
		r.Message = mcpoauth.Sanitize(text, maxMessage)
	default:
		return r, errMalformed
	}
	return r, nil
}

// parseResponse refuses what RFC 6749, section 3.1 forbids (a parameter more than once) and what cannot be a state.
func parseResponse(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errMalformed
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description", "error_uri"} {
		if len(q[name]) > 1 {
			return nil, errMalformed
		}
	}
	if state := q.Get("state"); state == "" || len(state) > maxState {
		return nil, credential.ErrUnknownState
	}
	if code := q.Get("code"); (code == "" && q.Get("error") == "") || strings.ContainsFunc(code, notVSCHAR) {
		return nil, errMalformed
	}
	return q, nil
}

// notVSCHAR finds what no code may hold (RFC 6749, appendix A.11).
func notVSCHAR(r rune) bool { return r < ' ' || r > '~' }

// callbackProblem answers for a response that was not recorded, or must not be shown.
func (s *Server) callbackProblem(x *exchange, err error) {
	s.auditRefusal(x, err)
	switch {
	case errors.Is(err, credential.ErrUnknownState), errors.Is(err, credential.ErrUnknownTicket), errors.Is(err, errGone):
		s.render(x, page{
			status: http.StatusBadRequest, title: "This sign-in has ended",
			text: "It was finished in another tab, was begun more than ten minutes ago, or was never begun here. Nothing was " +
				"changed by this page. Open the link to the connection again to see how it stands.",
		})
	case errors.Is(err, credential.ErrOtherBrowser):
		s.render(x, page{
			status: http.StatusForbidden, title: "Another browser began this",
			text: "A sign-in must end in the browser that began it, with cookies allowed. Nothing was changed. Open the link " +
				"to the connection in this browser and sign in again.",
		})
	case errors.Is(err, errOtherUser):
		s.render(x, otherUserPage())
	case errors.Is(err, errIssuer):
		s.render(x, page{
			status: http.StatusBadRequest, title: "The answer came from somewhere else", tone: "bad",
			text: "It did not come from the authorization server that was asked (RFC 9207), so it was not used, and no access " +
				"was given. Tell whoever manages the connection: its status holds the reason IssuerParameterMismatch.",
			code: x.describeCommand(),
		})
	case errors.Is(err, errBusy):
		s.render(x, page{
			status: http.StatusConflict, title: "Another sign-in came first",
			text: "A sign-in for the same connection is being completed at this moment, so this one was not used. Open the " +
				"link to the connection again to see how it stands.",
		})
	case errors.Is(err, errMalformed):
		s.render(x, page{
			status: http.StatusBadRequest, title: "This answer cannot be read",
			text: "What came back is not an answer as OAuth describes it. Nothing was changed. Open the link to the " +
				"connection again.",
		})
	default:
		s.problem(x, err)
	}
}
