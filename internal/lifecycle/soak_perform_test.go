package lifecycle

import (
	"strconv"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// perform does to what is observed what the reconciler's perform does, with the server's model in place of requests and
// without Secrets in between. Wherever the reconciler calls a function that makes no request, this is that function. It
// is false if the process dies halfway.
func (s *soaked) perform(step Step, o *State) bool {
	switch step {
	case StepCreateCredential:
		o.stored()
	case StepPublish:
		s.publish(o)
	case StepDiscover:
		s.discover(o)
	case StepRegister:
		s.register(o)
	case StepStartAuthorization:
		s.startAuthorization(o)
	case StepEndAuthorization:
		o.stored().Authorization.Withdraw()
	case StepExchangeCode:
		return s.exchangeCode(o)
	case StepRefresh:
		return s.refresh(o)
	case StepRequestToken:
		return s.requestToken(o)
	case StepProbe:
		return s.probe(o)
	default:
		s.broken("it is to %s", step)
	}
	return true
}

func (s *soaked) publish(o *State) {
	o.Secret, _ = o.DesiredSecret()
	s.versions++
	o.Secret.UID, o.Secret.ResourceVersion = "secret", strconv.Itoa(s.versions)
	o.PublishedName = o.Secret.Name
	o.Failures.Clear(StepPublish)
	s.secret = o.Secret
}

func (s *soaked) discover(o *State) {
	o.Rediscover = false
	if err := s.server.metadata(); err != nil {
		o.FailWith(s.clock.Now(), StepDiscover, err, "")
		return
	}
	o.Failures.Clear(StepDiscover)
	foundServer(o)
}

func (s *soaked) register(o *State) {
	switch {
	case o.NonInteractive():
		o.RegisterNonInteractive(s.clock.Now())
		return
	case o.Client != nil:
		o.UsePreregistered(s.clock.Now())
		o.Failures.Clear(StepRegister)
		return
	}
	known := o.stored().Registration(givenIssuer, o.RedirectURI())
	if known == nil || !UsableRegistration(known, o.Offer(), s.clock.Now()) {
		if err := s.server.metadata(); err != nil {
			o.FailWith(s.clock.Now(), StepRegister, err, string(mcpoauth.RegistrationFailing))
			return
		}
		s.clients++
		o.stored().PutRegistration(credential.Registration{Issuer: givenIssuer, RedirectURI: o.RedirectURI(),
			CreatedAt: s.clock.Now(),
			Client: mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-" + strconv.Itoa(s.clients),
				AuthMethod: mcpoauth.AuthMethodNone}})
		known = o.stored().Registration(givenIssuer, o.RedirectURI())
	}
	o.Registered = &known.Client
	o.Failures.Clear(StepRegister)
}

func (s *soaked) startAuthorization(o *State) {
	now := s.clock.Now()
	s.tickets++
	offer := credential.Offer{
		Ticket: "ticket-" + strconv.Itoa(s.tickets), ExpiresAt: now.Add(credential.TicketLifetime).Truncate(time.Second),
		SpecHash: BindingHash(o.Spec()), Reauthorize: ReauthorizeFor(o), Binding: Binding(o),
	}
	CountExpired(o.stored(), now)
	o.stored().Authorization.Replace(offer)
	o.Failures.Clear(StepStartAuthorization)
}

func (s *soaked) exchangeCode(o *State) bool {
	a, now := &o.stored().Authorization, s.clock.Now()
	response := a.Response
	switch {
	case response.Code == "":
		a.Finish(response.Reason, response.Message, now)
		o.Failures.Clear(StepExchangeCode)
		return true
	case response.Claim != nil:
		if wait := s.process.Wait(o.Conn.UID, response.Claim, s.clock.Now()); wait > 0 {
			o.Busy = min(wait, claims.Margin)
			return true
		}
		s.process.Forget(o.Conn.UID)
		a.Finish(v1alpha1.ReasonTokenRequestFailing, "The operator was stopped while it exchanged the authorization code.",
			now)
		o.Failures.Clear(StepExchangeCode)
		return true
	case now.Sub(response.ReceivedAt) > CodeLifetime:
		a.Finish(v1alpha1.ReasonTokenRequestFailing, "The token endpoint could not be reached while the authorization "+
			"code was valid.", now)
		o.Failures.Clear(StepExchangeCode)
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
	g := o.NewGrant(response.Request.Binding, answer)
	Succeed(&g, o.Grant())
	o.stored().PutGrant(g)
	a.Finish("", "", now)
	o.Failures = nil
	return true
}

func (s *soaked) codeFailed(o *State, e *mcpoauth.Error) {
	a, now := &o.stored().Authorization, s.clock.Now()
	if e.Outcome == mcpoauth.NotSent {
		a.Response.Claim = nil
		o.FailAs(s.clock.Now(), StepExchangeCode, e, v1alpha1.ReasonTokenRequestFailing, e.Message)
		return
	}
	FinishFailed(o.stored(), e, now)
	o.Failures.Clear(StepExchangeCode)
}

func (s *soaked) refresh(o *State) bool {
	g := o.Grant()
	if g.Claim != nil {
		if wait := s.process.Wait(o.Conn.UID, g.Claim, s.clock.Now()); wait > 0 {
			o.Busy = min(wait, claims.Margin)
			return true
		}
		s.process.Forget(o.Conn.UID)
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
	StoreAnswer(o, g, answer)
	Refreshed(g)
	o.stored().Authorization.ClientRefusals = 0
	o.Failures.Clear(StepRefresh)
	o.Discovery = nil
	return true
}

func (s *soaked) refreshFailed(o *State, e *mcpoauth.Error) {
	g := o.Grant()
	before := g.SetAside
	Blame(s.clock.Now(), o.stored(), g, e)
	if g.SetAside != before && e.Kind != mcpoauth.Rejected {
		s.broken("a grant is set aside because of %+v", e)
	}
	if !Refreshable(g) {
		o.Failures.Clear(StepRefresh)
		return
	}
	o.NoteRefreshFailure(s.clock.Now(), e, g.Client.Method)
	o.Rediscover = o.Rediscover || e.Moved()
}

func (s *soaked) requestToken(o *State) bool {
	b, anew := o.RequestBinding()
	if s.crowded(o) {
		return true
	}
	old := o.Grant()
	s.sends(old)
	answer, err := s.server.token("")
	if s.dies() {
		return false
	}
	if err != nil {
		o.NoteRequestFailure(s.clock.Now(), anew, mcpoauth.AsError(err), false)
		return true
	}
	g := o.NewGrant(b, answer)
	g.SpecHash = BindingHash(o.Spec())
	if old != nil {
		if !anew {
			g.SpecHash, g.Probe = old.SpecHash, ProbeOf(old)
		}
		g.Generation += old.Generation
		SucceedNonInteractive(&g, old)
	}
	o.stored().PutGrant(g)
	o.Failures.Clear(StepRequestToken)
	if !anew {
		o.Discovery = nil
	}
	return true
}

func (s *soaked) probe(o *State) bool {
	now := s.clock.Now().Truncate(time.Second)
	if rests := s.diedProbing.Add(ProbeRest); now.Before(rests) {
		s.broken("the server is tried %s too early after a process died of it", rests.Sub(now))
	}
	o.stored().ProbedAt = now
	if s.dies() {
		s.diedProbing = now
		return false
	}
	if err := s.server.metadata(); err != nil {
		o.FailWith(s.clock.Now(), StepProbe, err, v1alpha1.ReasonServerUnreachable)
		return true
	}
	o.Failures.Clear(StepProbe)
	found := AcceptedProbe(o.Grant(), &mcpoauth.ServerInfo{Name: "files", Tools: 7}, now)
	o.Grant().Probe = &found
	if aside := o.Grant().SetAside; aside != nil {
		aside.Tried = true
	}
	return true
}
