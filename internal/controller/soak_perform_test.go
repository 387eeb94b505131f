package controller

import (
	"strconv"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// perform does to what is observed what the reconciler's perform does, with the server's model in place of requests and
// without Secrets in between. Wherever the reconciler calls a function that makes no request, this is that function. It is
// false if the process dies halfway.
func (s *soaked) perform(step step, o *observed) bool {
	switch step {
	case stepCreateCredential:
		o.stored()
	case stepPublish:
		s.publish(o)
	case stepDiscover:
		s.discover(o)
	case stepRegister:
		s.register(o)
	case stepStartAuthorization:
		s.startAuthorization(o)
	case stepEndAuthorization:
		o.stored().Authorization.Withdraw()
	case stepExchangeCode:
		return s.exchangeCode(o)
	case stepRefresh:
		return s.refresh(o)
	case stepRequestToken:
		return s.requestToken(o)
	case stepProbe:
		return s.probe(o)
	default:
		s.broken("it is to %s", step)
	}
	return true
}

func (s *soaked) publish(o *observed) {
	o.secret, _ = o.desiredSecret()
	s.versions++
	o.secret.UID, o.secret.ResourceVersion = "secret", strconv.Itoa(s.versions)
	o.publishedName = o.secret.Name
	o.failures.clear(stepPublish)
	s.secret = o.secret
}

func (s *soaked) discover(o *observed) {
	o.rediscover = false
	if err := s.server.metadata(); err != nil {
		o.fail(s.clock.Now(), stepDiscover, err, "")
		return
	}
	o.failures.clear(stepDiscover)
	foundServer(o)
}

func (s *soaked) register(o *observed) {
	switch {
	case o.unattended():
		o.registerUnattended(s.clock.Now())
		return
	case o.client != nil:
		o.usePreregistered(s.clock.Now())
		o.failures.clear(stepRegister)
		return
	}
	known := o.stored().Registration(givenIssuer, o.redirectURI())
	if known == nil || !usableRegistration(known, o.offer(), s.clock.Now()) {
		if err := s.server.metadata(); err != nil {
			o.fail(s.clock.Now(), stepRegister, err, string(mcpoauth.RegistrationFailing))
			return
		}
		s.clients++
		o.stored().PutRegistration(credential.Registration{Issuer: givenIssuer, RedirectURI: o.redirectURI(), CreatedAt: s.clock.Now(),
			Client: mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-" + strconv.Itoa(s.clients), AuthMethod: mcpoauth.AuthMethodNone}})
		known = o.stored().Registration(givenIssuer, o.redirectURI())
	}
	o.registered = &known.Client
	o.failures.clear(stepRegister)
}

func (s *soaked) startAuthorization(o *observed) {
	now := s.clock.Now()
	s.tickets++
	offer := credential.Offer{
		Ticket: "ticket-" + strconv.Itoa(s.tickets), ExpiresAt: now.Add(credential.TicketLifetime).Truncate(time.Second),
		SpecHash: bindingHash(o.spec()), Reauthorize: reauthorizeFor(o), Binding: binding(o),
	}
	countExpired(o.stored(), now)
	o.stored().Authorization.Replace(offer)
	o.failures.clear(stepStartAuthorization)
}

func (s *soaked) exchangeCode(o *observed) bool {
	a, now := &o.stored().Authorization, s.clock.Now()
	response := a.Response
	switch {
	case response.Code == "":
		a.Finish(response.Reason, response.Message, now)
		o.failures.clear(stepExchangeCode)
		return true
	case response.Claim != nil:
		if wait := s.process.Wait(o.conn.UID, response.Claim, s.clock.Now()); wait > 0 {
			o.busy = min(wait, claims.Margin)
			return true
		}
		s.process.Forget(o.conn.UID)
		a.Finish(v1alpha1.ReasonTokenRequestFailing, "The operator was stopped while it exchanged the authorization code.", now)
		o.failures.clear(stepExchangeCode)
		return true
	case now.Sub(response.ReceivedAt) > codeLifetime:
		a.Finish(v1alpha1.ReasonTokenRequestFailing, "The token endpoint could not be reached while the authorization code was valid.", now)
		o.failures.clear(stepExchangeCode)
		return true
	}
	response.Claim = s.process.New()
	if s.dies() {
		return false
	}
	answer, err := s.server.token("")
	if s.dies() {
		return false
	}
	if err != nil {
		s.codeFailed(o, mcpoauth.AsError(err))
		return true
	}
	g := o.newGrant(response.Request.Binding, answer)
	succeed(&g, o.grant())
	o.stored().PutGrant(g)
	a.Finish("", "", now)
	o.failures = nil
	return true
}

func (s *soaked) codeFailed(o *observed, e *mcpoauth.Error) {
	a, now := &o.stored().Authorization, s.clock.Now()
	if e.Outcome == mcpoauth.NotSent {
		a.Response.Claim = nil
		o.failAs(s.clock.Now(), stepExchangeCode, e, v1alpha1.ReasonTokenRequestFailing, e.Message)
		return
	}
	finishFailed(o.stored(), e, now)
	o.failures.clear(stepExchangeCode)
}

func (s *soaked) refresh(o *observed) bool {
	g := o.grant()
	if g.Claim != nil {
		if wait := s.process.Wait(o.conn.UID, g.Claim, s.clock.Now()); wait > 0 {
			o.busy = min(wait, claims.Margin)
			return true
		}
		s.process.Forget(o.conn.UID)
		g.Claim = nil
		g.UnknownOutcomes++
		return true
	}
	if s.crowded(o) {
		return true
	}
	g.Claim = s.process.New()
	if s.dies() {
		return false
	}
	s.sends(g)
	answer, err := s.server.token(g.RefreshToken)
	if s.dies() {
		return false
	}
	if err != nil {
		s.refreshFailed(o, mcpoauth.AsError(err))
		return true
	}
	store(o, g, answer)
	refreshed(g)
	o.stored().Authorization.ClientRefusals = 0
	o.failures.clear(stepRefresh)
	o.discovery = nil
	return true
}

func (s *soaked) refreshFailed(o *observed, e *mcpoauth.Error) {
	g := o.grant()
	before := g.SetAside
	blame(s.clock.Now(), o.stored(), g, e)
	if g.SetAside != before && e.Kind != mcpoauth.Rejected {
		s.broken("a grant is set aside because of %+v", e)
	}
	if !refreshable(g) {
		o.failures.clear(stepRefresh)
		return
	}
	o.noteRefreshFailure(s.clock.Now(), e, g.Client.Method)
	o.rediscover = o.rediscover || e.Moved()
}

func (s *soaked) requestToken(o *observed) bool {
	b, anew := o.requestBinding()
	if s.crowded(o) {
		return true
	}
	old := o.grant()
	s.sends(old)
	answer, err := s.server.token("")
	if s.dies() {
		return false
	}
	if err != nil {
		o.noteRequestFailure(s.clock.Now(), anew, mcpoauth.AsError(err), false)
		return true
	}
	g := o.newGrant(b, answer)
	g.SpecHash = bindingHash(o.spec())
	if old != nil {
		if !anew {
			g.SpecHash, g.Probe = old.SpecHash, probeOf(old)
		}
		g.Generation += old.Generation
		succeedUnattended(&g, old)
	}
	o.stored().PutGrant(g)
	o.failures.clear(stepRequestToken)
	if !anew {
		o.discovery = nil
	}
	return true
}

func (s *soaked) probe(o *observed) bool {
	now := s.clock.Now().Truncate(time.Second)
	if rests := s.diedProbing.Add(probeRest); now.Before(rests) {
		s.broken("the server is tried %s too early after a process died of it", rests.Sub(now))
	}
	o.stored().ProbedAt = now
	if s.dies() {
		s.diedProbing = now
		return false
	}
	if err := s.server.metadata(); err != nil {
		o.fail(s.clock.Now(), stepProbe, err, v1alpha1.ReasonServerUnreachable)
		return true
	}
	o.failures.clear(stepProbe)
	found := acceptedProbe(o.grant(), &mcpoauth.ServerInfo{Name: "files", Tools: 7}, now)
	o.grant().Probe = &found
	if aside := o.grant().SetAside; aside != nil {
		aside.Tried = true
	}
	return true
}
