package callback

import (
	"context"
	"errors"
	"fmt"
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
		s.connectProblem(x, v, err)
		return
	}
	seen, err := s.look(x.r, v, ticket)
	if err == nil && x.r.Method == http.MethodGet && !prefetch(x.r) {
		seen, err = s.await(x.r, v, ticket, seen)
	}
	if err == nil {
		err = v.closed(seen.state)
	}
	if err == nil && seen.offer != nil {
		err = usable(&seen.offer.Binding)
	}
	if err != nil {
		s.connectProblem(x, v, err)
		return
	}
	x.about(v)
	s.render(x, s.consentPage(v, seen, x.user))
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

// await waits for what the reconciler is about to do: first to deal with the response, which is then read once more,
// then to publish the token. While too many pages wait already, this one does not, and refreshes itself.
func (s *Server) await(r *http.Request, v *visit, ticket string, seen view) (view, error) {
	pending := seen.state == viewPending && !v.suspended
	if !pending && !s.publishing(v, seen) {
		return seen, nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return seen, nil
	}
	if pending {
		if !s.handled(r.Context(), v, seen.revision) {
			return seen, nil
		}
		held, err := s.read(r.Context(), v.uid)
		if err != nil {
			return view{}, err
		}
		v.held = held
		if seen, err = s.look(r, v, ticket); err != nil {
			return seen, err
		}
	}
	return seen, s.published(r.Context(), v, seen)
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
			text: "This request came from another website, so nothing was begun. Open the link in a tab of its own and " +
				"continue from there.",
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
		s.connectProblem(x, v, err)
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
		s.connectProblem(x, v, err)
		return
	}
	location, err := s.begin(x, v, ticket)
	if err != nil {
		s.connectProblem(x, v, err)
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
		if location, err = mcpoauth.AuthorizationURL(b.AuthorizationRequest(state, verifier)); err != nil {
			return fmt.Errorf("%w: %w", errEndpoint, err)
		}
		a.AddRequest(credential.Request{
			State: state, CodeVerifier: verifier, BrowserHash: browser,
			ExpiresAt: now.Add(credential.RequestLifetime), Ticket: ticket, Binding: b, User: x.user,
		}, now)
		return nil
	})
	return location, err
}

// usable says why a person cannot be sent to the authorization server; nil if they can.
func usable(b *credential.Binding) error {
	if err := mcpoauth.CheckAuthorizationEndpoint(b.AuthorizationRequest("", "")); err != nil {
		return fmt.Errorf("%w: %w", errEndpoint, err)
	}
	return nil
}

// emptyBody reads at most one byte; a longer body closes the connection.
func emptyBody(x *exchange) bool {
	x.place.idle() // it waits for the client, who may never send what was announced
	defer x.place.busy()
	n, err := io.ReadFull(http.MaxBytesReader(x.w, x.r.Body, maxBody), make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// connectProblem answers for a ticket that cannot be used now. v is nil if the connection is not known.
func (s *Server) connectProblem(x *exchange, v *visit, err error) {
	s.auditRefusal(x, err)
	if errors.Is(err, credential.ErrTicketGone) && v.gone {
		err = errGone
	}
	switch {
	case errors.Is(err, credential.ErrUnknownTicket):
		s.render(x, notFoundPage())
	case errors.Is(err, credential.ErrTicketGone):
		s.render(x, page{
			status: http.StatusGone, title: "This link has ended",
			text: "It was used, replaced by a newer one, or is older than a day. If consent is still needed, this shows the " +
				"current link to whoever may read the connection:",
			code: linkCommand(v.meta),
		})
	case errors.Is(err, errGone):
		s.render(x, page{
			status: http.StatusGone, title: "The connection was deleted",
			text: "The connection that this link belonged to does not exist any more. There is nothing left to do here.",
		})
	case errors.Is(err, errEndpoint):
		s.render(x, endpointPage(v.meta, err))
	default:
		s.problem(x, err)
	}
}

// endpointPage is for a person who cannot be sent on, for what a server or the spec says.
func endpointPage(connection Meta, err error) page {
	p := page{
		status: http.StatusConflict, title: "This link leads nowhere", tone: "bad",
		text: "You cannot be sent to the authorization server, by no fault of yours. Nothing was begun. Whoever manages " +
			"the connection can mend it, and finds how it stands with the command below.",
		code: describeCommand(connection),
	}
	if e := mcpoauth.AsError(err); e != nil {
		p.detail = mcpoauth.Sanitize(e.Message, maxMessage)
	}
	return p
}
