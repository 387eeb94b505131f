package lifecycle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
)

// A soak is ninety days of a thousand connections: what is decided, scheduled, stored and reported is the reconciler's;
// servers, persons, Secrets and the clock are models. SOAK_SEED chooses another ninety days, SOAK_ROUNDS asks for
// several in a row, SOAK_CONNECTION for one connection of them.
const (
	soakDays        = 90
	soakConnections = 1000
	// recovery is the longest that anything may take once nothing stands in its way: the longest back-off or Retry-After
	// is an hour, and one more back-off may follow.
	recovery = maxRecheck + maxRetry + time.Minute
	// lateness is how much later than asked for a reconcile begins.
	lateness = 200 * time.Millisecond
)

// soaked is one connection in simulated time.
type soaked struct {
	t      testing.TB
	random *rand.Rand
	clock  *clocktesting.FakePassiveClock
	// process is the operator's, which began to reconcile at since.
	process *claims.Process
	since   time.Time
	server  soakServer

	// What the API server keeps.
	conn   *v1alpha1.MCPConnection
	held   *credential.Held
	secret *corev1.Secret
	client *ReferencedClient

	start, end time.Time
	// wake is when the operator looks again; zero if nothing asks for it. spurious is a look that nothing asked for.
	wake, spurious time.Time
	// restarts and edits are still to come, in order.
	restarts, edits []time.Time
	// person says when a link is opened; zero while there is none. patience is how long that takes.
	person    time.Time
	patience  time.Duration
	hasDenied bool
	// dieAfter is at which point the process dies; 0: it does not.
	dieAfter int
	// diedProbing is when a process last died while it tried the server; zero if none did.
	diedProbing time.Time
	// disturbed is until when a restart or a busy host held this connection up.
	disturbed time.Time

	versions, clients, tickets int
	soakLaws
}

func TestNinetyDaysOfAThousandConnections(t *testing.T) {
	seed, rounds := number("SOAK_SEED", 1), number("SOAK_ROUNDS", 1)
	for round := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed %d", uint64(seed)+round), func(t *testing.T) { soak(t, uint64(seed)+round) })
	}
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func soak(t testing.TB, seed uint64) {
	only := number("SOAK_CONNECTION", -1)
	var total soakCount
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := range next {
				s := newSoaked(t, seed, i)
				s.live()
				mu.Lock()
				total.add(&s.count)
				for _, wrong := range s.wrong {
					t.Errorf("seed %d, connection %d: %s", seed, i, wrong)
				}
				mu.Unlock()
			}
		})
	}
	for i := range soakConnections {
		if only < 0 || i == only {
			next <- i
		}
	}
	close(next)
	wait.Wait()
	t.Logf("seed %d: %+v", seed, total)
	if only < 0 {
		total.check(t)
	}
}

// newSoaked chooses a connection, its server, and all that will befall them.
func newSoaked(t testing.TB, seed uint64, i int) *soaked {
	s := &soaked{t: t, random: rand.New(rand.NewPCG(seed, uint64(i)))}
	s.sentOn, s.lookedOn = map[int]int{}, map[int]int{}
	o := given()
	s.conn = o.Conn
	s.conn.UID = types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", seed, i))
	s.clock = clocktesting.NewFakePassiveClock(epoch)
	s.server = soakServer{random: s.random, clock: s.clock, refreshes: s.chance(80), rotates: s.chance(60),
		grace: s.chance(50)}
	switch {
	case s.chance(2):
		s.server.lifetime = s.about(12 * time.Second)
	case s.chance(4):
		s.server.lifetime = s.about(time.Minute)
	default:
		s.server.lifetime = s.about(s.oneOf(10*time.Minute, time.Hour, time.Hour, 8*time.Hour, 24*time.Hour, 7*24*time.Hour,
			7*24*time.Hour, 30*24*time.Hour))
	}
	if s.chance(8) {
		if s.server.jwt = s.chance(50); !s.server.jwt {
			s.server.lifetime = 0
		}
	}
	s.chooseSpec()
	s.chooseFate()
	s.restart()
	s.wake = s.start
	return s
}

func (s *soaked) chance(percent int) bool { return s.random.IntN(100) < percent }

// about is a duration around d, to the millisecond.
func (s *soaked) about(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.5 + s.random.Float64())).Truncate(time.Millisecond)
}

func (s *soaked) oneOf(from ...time.Duration) time.Duration { return from[s.random.IntN(len(from))] }

// upTo is a duration of at most d.
func (s *soaked) upTo(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d))) + 1
}

func (s *soaked) chooseSpec() {
	spec := &s.conn.Spec
	switch {
	case s.chance(12):
		spec.GrantType, spec.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "agent"
	case s.chance(15):
		spec.GrantType = v1alpha1.GrantTypeClientCredentials
		fallthrough
	case s.chance(15):
		spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "credentials"},
			Issuer: givenIssuer}
		s.client = &ReferencedClient{ID: "by hand", Secret: "the-client-secret"}
	}
	s.chooseRefresh()
	if s.chance(30) {
		spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: s.about(6 * time.Hour)}}
	}
}

func (s *soaked) chooseRefresh() {
	refresh := &v1alpha1.RefreshSpec{}
	if s.chance(20) {
		refresh.Before = &metav1.Duration{Duration: s.about(max(2*time.Second, s.server.lifetime/4))}
	}
	if s.chance(20) {
		refresh.KeepAlive = &metav1.Duration{Duration: s.about(24 * time.Hour)}
	}
	s.conn.Spec.Refresh = refresh
}

// chooseFate says when the connection begins and ends, and what goes wrong in between. It lives for a few dozen tokens
// at least, or for ninety days.
func (s *soaked) chooseFate() {
	token := s.server.lifetime
	if token == 0 {
		token = time.Hour
	}
	s.patience = s.about(max(time.Minute, min(6*time.Hour, token/4)))
	span, quiet := soakDays*24*time.Hour, 2*recovery+4*s.patience
	length := min(span, max(s.about(30*token), time.Hour)+quiet)
	s.start = epoch.Add(s.upTo(span - length + 1))
	s.end = s.start.Add(length)
	s.clock.SetTime(s.start)
	at := s.start
	for {
		at = at.Add(s.about(length / 5))
		o := outage{kind: trouble(1 + s.random.IntN(int(forgetsClients))), from: at, to: at.Add(s.about(s.oneOf(
			10*time.Second, time.Minute, 20*time.Minute, 20*time.Minute, 3*time.Hour, 3*time.Hour, 24*time.Hour)))}
		if s.chance(70) {
			o.retryAfter = s.upTo(time.Hour)
		}
		if at = o.to; at.After(s.end.Add(-quiet)) {
			break
		}
		s.server.outages = append(s.server.outages, o)
	}
	for at := s.start; ; {
		if at = at.Add(s.about(length / 8)); at.After(s.end.Add(-quiet)) {
			break
		}
		if s.chance(40) {
			s.edits = append(s.edits, at)
		} else {
			s.restarts = append(s.restarts, at)
		}
	}
	for _, o := range s.server.outages { // misfortunes come together
		if s.chance(50) {
			s.restarts = append(s.restarts, o.from.Add(s.upTo(o.to.Sub(o.from))))
		}
	}
	slices.SortFunc(s.restarts, time.Time.Compare)
}

// restart is another process: what was in memory is gone.
func (s *soaked) restart() {
	s.process = &claims.Process{Holder: fmt.Sprintf("process-%d", s.random.Uint64())}
	s.since = time.Time{}
	s.dieAfter = 0
}

// live goes from one event to the next.
func (s *soaked) live() {
	for len(s.wrong) < 3 {
		at, event := s.nextEvent()
		if at.After(s.end) {
			s.clock.SetTime(s.end)
			s.last()
			return
		}
		s.clock.SetTime(at)
		event()
	}
}

// nextEvent is what happens first.
func (s *soaked) nextEvent() (time.Time, func()) {
	at, event := s.end.Add(1), func() {}
	consider := func(t time.Time, f func()) {
		if !t.IsZero() && t.Before(at) {
			at, event = t, f
		}
	}
	consider(s.wake, func() { s.wake = time.Time{}; s.look() })
	consider(s.spurious, func() { s.spurious = time.Time{}; s.look() })
	consider(s.person, s.consents)
	if len(s.restarts) > 0 {
		consider(s.restarts[0], func() {
			s.restarts = s.restarts[1:]
			if s.dieAfter = s.random.IntN(8); s.dieAfter == 0 { // at rest
				s.comesBack()
			}
		})
	}
	if len(s.edits) > 0 {
		consider(s.edits[0], s.edit)
	}
	return at, event
}

// dies reports whether the process is killed at this point.
func (s *soaked) dies() bool {
	if s.dieAfter == 0 {
		return false
	}
	if s.dieAfter--; s.dieAfter > 0 {
		return false
	}
	s.comesBack()
	return true
}

// comesBack starts another process, which looks at everything.
func (s *soaked) comesBack() {
	s.count.Restarts++
	s.restart()
	s.wake = s.clock.Now().Add(5*time.Second + s.upTo(time.Minute))
	s.disturb(s.wake.Add(claims.TakeoverAfter + 2*claims.Margin))
}

func (s *soaked) disturb(until time.Time) {
	if until.After(s.disturbed) {
		s.disturbed = until
	}
}

// crowded reports whether the host is busy with others.
func (s *soaked) crowded(o *State) bool {
	if !s.chance(2) {
		return false
	}
	o.Busy, o.Waits = UrgentSlotRetry, Decide(s.clock.Now(), o)
	s.disturb(s.clock.Now().Add(UrgentSlotRetry + lateness))
	return true
}

func (s *soaked) edit() {
	s.edits = s.edits[1:]
	conn := *s.conn
	conn.Generation++
	s.conn = &conn
	s.chooseRefresh()
	s.edited = s.clock.Now()
	for i := range s.server.outages {
		s.server.outages[i].edits++
	}
	s.look()
}

// consents is a person who opens the link.
func (s *soaked) consents() {
	now := s.clock.Now()
	s.person = time.Time{}
	offer := s.observe().Offer()
	if s.conn.Status.AuthorizationURL == "" || offer == nil || !now.Before(offer.ExpiresAt) {
		return
	}
	if o := s.server.inTrouble(false); o != nil && o.kind == allDown {
		s.person = now.Add(s.patience)
		return
	}
	a := &s.held.Authorization
	request := credential.Request{State: "state-" + strconv.Itoa(int(a.Revision)), Ticket: offer.Ticket,
		Binding: offer.Binding, ExpiresAt: now.Add(credential.RequestLifetime)}
	a.AddRequest(request, now)
	response := credential.Response{Request: request, ReceivedAt: now, Code: "code"}
	if !s.hasDenied && s.chance(10) {
		s.hasDenied = true
		response.Code, response.Reason, response.Message = "", v1alpha1.ReasonAccessDenied, "The person said no"
	}
	a.Record(response)
	s.count.Consents++
	s.sentOn[s.day()]++
	s.look()
}

// observe is what a reconcile reads.
func (s *soaked) observe() *State {
	conn := *s.conn // what is replaced is its status only
	if s.since.IsZero() {
		s.since = s.clock.Now().Truncate(time.Second)
	}
	o := &State{Conn: &conn, Held: s.held, Secret: s.secret, Client: s.client, ExternalURL: givenExternal, Since: s.since}
	if t := s.conn.Status.Token; t != nil {
		o.PublishedName = t.SecretName
	}
	o.Failures = RememberedFailures(o.Conn, givenExternal)
	o.Failures.Outlived(o.Grant(), s.clock.Now())
	return o
}

// look is one reconcile.
func (s *soaked) look() {
	now := s.clock.Now()
	o := s.observe()
	s.before(now, o)
	if rest, idle := resting(now, o); idle {
		s.rests(now, o, rest)
		s.sleep(rest)
		return
	}
	for range MaxSteps {
		step := Decide(now, o)
		if step == StepNone {
			break
		}
		if o.Held != nil {
			o.Held.Writes++
		}
		done := s.perform(step, o)
		s.held = o.Held
		if !done || s.dies() {
			return
		}
	}
	status := Report(now, o)
	if s.dies() {
		return
	}
	o.Conn.Status = status
	wait := pause(now, o)
	s.conn = o.Conn
	s.after(now, o, wait)
	s.sleep(wait)
}

// sleep is what happens between one look and the next.
func (s *soaked) sleep(wait time.Duration) {
	now := s.clock.Now()
	s.wake, s.spurious = time.Time{}, time.Time{}
	if wait > 0 {
		s.wake = now.Add(wait + s.upTo(lateness))
		if s.chance(5) {
			s.spurious = now.Add(s.upTo(wait))
		}
	}
	if s.person.IsZero() && s.conn.Status.AuthorizationURL != "" {
		s.person = now.Add(s.upTo(2 * s.patience))
	}
}
