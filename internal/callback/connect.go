package callback

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// outcomeWait is how long a page waits for the reconciler before it refreshes itself.
	outcomeWait = 10 * time.Second
	// outcomePoll is how often cached metadata is looked at meanwhile.
	outcomePoll = 200 * time.Millisecond
	// maxBody is how much of a body that should be empty is read before the connection is closed.
	maxBody = 4 << 10
)

var errEndpoint = errors.New("the authorization endpoint cannot be used")

// connect serves the start page of a consent, which later shows the outcome.
func (s *Server) connect(x *exchange, ticket string) {
	if !s.allow(x, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	if x.r.Method == http.MethodPost {
		s.start(x, ticket)
		return
	}
	v, err := s.visit(x.r.Context(), ticket)
	if err != nil {
		s.connectProblem(x, err)
		return
	}
	seen, err := s.look(x.r, v, ticket)
	if err == nil && seen.state == viewPending && !v.suspended && x.r.Method == http.MethodGet && !prefetch(x.r) {
		seen, err = s.await(x.r, v, ticket, seen)
	}
	if err == nil {
		err = v.closed(seen.state)
	}
	if err != nil {
		s.connectProblem(x, err)
		return
	}
	x.about(v)
	s.render(x, consentPage(v.meta, seen, x.user))
}

func (s *Server) look(r *http.Request, v *visit, ticket string) (view, error) {
	return look(&v.held.Authorization, ticket, s.browserHash(r), s.o.Now())
}

// closed says why nobody may consent now. What has already succeeded may be seen all the same.
func (v *visit) closed(state viewState) error {
	switch {
	case state == viewSucceeded:
		return nil
	case v.gone:
		return errGone
	case v.suspended:
		return errSuspended
	}
	return nil
}

func (v *visit) name() string { return v.meta.Namespace + "/" + v.meta.Name }

// await waits until the reconciler has dealt with the response, then reads once more. While too many pages wait
// already, this one does not, and refreshes itself.
func (s *Server) await(r *http.Request, v *visit, ticket string, seen view) (view, error) {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return seen, nil
	}
	if !s.handled(r.Context(), v, seen.revision) {
		return seen, nil
	}
	held, err := s.read(r.Context(), v.uid)
	if err != nil {
		return view{}, err
	}
	v.held = held
	return s.look(r, v, ticket)
}

// handled waits for a revision to appear in cached metadata as dealt with; false if it does not in time.
func (s *Server) handled(ctx context.Context, v *visit, revision int64) bool {
	end := time.NewTimer(outcomeWait)
	defer end.Stop()
	poll := time.NewTicker(outcomePoll)
	defer poll.Stop()
	for {
		meta, ok, err := s.o.Secrets.Lookup(ctx, v.uid)
		if err == nil && (!ok || meta.Handled >= revision) {
			return true
		}
		select {
		case <-poll.C:
		case <-end.C:
			// The cache may be behind: one live look is worth it.
			return true
		case <-ctx.Done():
			return false
		case <-s.stopping:
			return false
		}
	}
}

// start begins one authorization request in this browser and sends it to the authorization server.
func (s *Server) start(x *exchange, ticket string) {
	if err := s.crossing.Check(x.r); err != nil {
		s.render(x, page{
			status: http.StatusForbidden, title: "Open the link itself",
			text: "This request came from another website, so nothing was begun. Open the link in a tab of its own and continue from there.",
		})
		return
	}
	if !emptyBody(x) {
		s.render(x, page{
			status: http.StatusBadRequest, title: "Something was sent along",
			text: "The form on the start page sends no content, but this request did. Nothing was begun. Open the link again.",
		})
		return
	}
	v, err := s.visit(x.r.Context(), ticket)
	if err != nil {
		s.connectProblem(x, err)
		return
	}
	if _, err = v.held.Authorization.OpenOffer(ticket, s.o.Now()); err == nil {
		x.about(v)
		err = v.closed(viewOpen)
	}
	if err == nil {
		err = s.permit(x.r.Context(), x, v)
	}
	if err != nil {
		s.connectProblem(x, err)
		return
	}
	location, err := s.begin(x, v, ticket)
	if err != nil {
		s.connectProblem(x, err)
		return
	}
	s.audit(x, auditBegun)
	x.redirect(location)
}

// begin stores a request for the offer as it is at the time of writing, and returns the URL to send the browser to.
func (s *Server) begin(x *exchange, v *visit, ticket string) (string, error) {
	now, browser := s.o.Now(), s.knowBrowser(x)
	state, verifier := credential.NewTicket(v.uid), mcpoauth.NewCodeVerifier()
	var location string
	err := s.update(x.r.Context(), v, func(a *credential.Authorization) error {
		offer, err := a.OpenOffer(ticket, now)
		if err != nil {
			return err
		}
		b := offer.Binding
		location, err = mcpoauth.AuthorizationURL(b.AuthorizationRequest(state, verifier))
		if err != nil {
			return errors.Join(errEndpoint, err)
		}
		a.AddRequest(credential.Request{
			State: state, CodeVerifier: verifier, BrowserHash: browser,
			ExpiresAt: now.Add(credential.RequestLifetime), Ticket: ticket, Binding: b, User: x.user,
		}, now)
		return nil
	})
	return location, err
}

// emptyBody reads at most one byte; a longer body closes the connection.
func emptyBody(x *exchange) bool {
	n, err := io.ReadFull(http.MaxBytesReader(x.w, x.r.Body, maxBody), make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// connectProblem answers for a ticket that cannot be used now.
func (s *Server) connectProblem(x *exchange, err error) {
	s.auditRefusal(x, err)
	switch {
	case errors.Is(err, credential.ErrUnknownTicket):
		s.render(x, notFoundPage())
	case errors.Is(err, credential.ErrTicketGone):
		s.render(x, page{
			status: http.StatusGone, title: "This link has ended",
			text: "It was used, replaced by a newer one, or is older than a day. If consent is still needed, status.authorizationURL of the connection names the current link.",
			code: "kubectl describe mcpc NAME",
		})
	case errors.Is(err, errGone):
		s.render(x, page{
			status: http.StatusGone, title: "The connection was deleted",
			text: "The connection that this link belonged to does not exist any more. There is nothing left to do here.",
		})
	default:
		s.problem(x, err)
	}
}
