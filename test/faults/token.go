package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// mischief is what happens to a token request.
type mischief string

const (
	fair         mischief = ""
	answerLost   mischief = "answer lost after acting"
	requestLost  mischief = "connection cut before acting"
	badGateway   mischief = "502 after acting"
	timedOut     mischief = "504 before acting"
	serverError  mischief = "500"
	unavailable  mischief = "503 with Retry-After"
	tooMany      mischief = "429"
	firewall     mischief = "WAF page with 403"
	interstitial mischief = "WAF page with 200"
	slowDrip     mischief = "answer drips slowly"
	endlessDrip  mischief = "answer drips past the time-out"
)

// mischiefs are equally likely; acting are those after which the refresh token is gone and nobody was told.
var (
	mischiefs = []mischief{answerLost, requestLost, badGateway, timedOut, serverError, unavailable, tooMany, firewall,
		interstitial, slowDrip, endlessDrip}
	acting = map[mischief]bool{answerLost: true, badGateway: true, endlessDrip: true}
)

// mischiefShare of the token requests meet one.
const mischiefShare = 0.2

var processName = regexp.MustCompile(`process/\d+`)

// draw chooses what happens to a refresh. What a grace cannot make up for is left out where there is one: a second loss
// in a row, a wait that outlasts it, and a loss while something else goes wrong.
func (s *authServer) draw(i *issue, g grace) mischief {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.weather.Load() || s.rng.Float64() >= mischiefShare {
		return fair
	}
	m := mischiefs[s.rng.IntN(len(mischiefs))]
	timed := g == thirtySeconds && (m == endlessDrip || !s.harsh.Load())
	switch {
	case g == thirtySeconds && s.ledger.unanswered(i), acting[m] && timed, m == endlessDrip && s.stalled:
		return fair
	case m == endlessDrip:
		s.stalled = true
	}
	return m
}

func bodyOf(i *issue) map[string]any {
	return map[string]any{"access_token": i.access, "refresh_token": i.refresh, "token_type": "Bearer",
		"expires_in": int(lifetimeOf(i.family.connection) / time.Second)}
}

// refresh plays a refresh with what is drawn for it.
func (s *authServer) refresh(w http.ResponseWriter, r *http.Request, client oauthtest.Client, form url.Values) {
	i := s.ledger.find(form.Get("refresh_token"))
	if i == nil || i.family.client != client.ID || form.Get("resource") != s.mcpURL(i.family.connection) {
		s.ledger.table.broken(&s.ledger.table.lost, "an unknown refresh token was sent, or by another client, or for "+
			"another resource")
		refuse(w)
		return
	}
	spend := s.ledger.present(i, processName.FindString(r.UserAgent()))
	m := s.draw(i, i.family.grace)
	if m != fair {
		s.ledger.suffers(i.family, s.ledger.table.row("token endpoint: "+string(m)))
	}
	if answer, fate := refusal(m); answer != nil {
		s.ledger.finish(i, spend, fate)
		answer(w)
		return
	}
	if m == requestLost {
		s.ledger.finish(i, spend, unknown)
		cut(w)
		return
	}
	next := s.ledger.redeem(i, lifetimeOf(i.family.connection))
	if next == nil {
		s.ledger.finish(i, spend, refused)
		refuse(w)
		return
	}
	switch m {
	case answerLost:
		s.ledger.finish(i, spend, unknown)
		cut(w)
	case badGateway:
		s.ledger.finish(i, spend, unknown)
		w.WriteHeader(http.StatusBadGateway)
	case endlessDrip:
		_ = drip(w, r, next, 40*time.Second)
		s.ledger.finish(i, spend, unknown)
		s.mu.Lock()
		s.stalled = false
		s.mu.Unlock()
	case slowDrip:
		s.ledger.finish(i, spend, told(drip(w, r, next, 4*time.Second)))
	default:
		s.ledger.finish(i, spend, told(drip(w, r, next, 0)))
	}
}

// refuse says that a refresh token is of no use.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
}

func told(whole bool) fate {
	if whole {
		return answered
	}
	return unknown
}

// refusal is the answer of faults that spend nothing, and what the client can know after it.
func refusal(m mischief) (func(http.ResponseWriter), fate) {
	page := func(status int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html><body><h1>Checking your browser</h1>error: invalid_grant</body></html>"))
		}
	}
	switch m {
	case serverError:
		return page(http.StatusInternalServerError), free
	case tooMany:
		return page(http.StatusTooManyRequests), free
	case firewall:
		return page(http.StatusForbidden), free
	case interstitial:
		return page(http.StatusOK), unknown
	case timedOut:
		return page(http.StatusGatewayTimeout), unknown
	case unavailable:
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			page(http.StatusServiceUnavailable)(w)
		}, free
	}
	return nil, free
}

// drip writes an answer spread over a time, and reports whether it came through whole.
func drip(w http.ResponseWriter, r *http.Request, i *issue, over time.Duration) bool {
	raw, err := json.Marshal(bodyOf(i))
	if err != nil {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	out := http.NewResponseController(w)
	parts := 1
	if over > 0 {
		parts = 20
	}
	for n := range parts {
		from, to := len(raw)*n/parts, len(raw)*(n+1)/parts
		if _, err := w.Write(raw[from:to]); err != nil || out.Flush() != nil {
			return false
		}
		select {
		case <-r.Context().Done():
			return n == parts-1
		case <-time.After(over / time.Duration(parts)):
		}
	}
	return true
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// asked reports whether a process was the last to send a refresh token.
func (l *ledger) asked(refresh, process string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.refresh[refresh]
	return i != nil && len(i.spends) > 0 && i.spends[len(i.spends)-1].process == process
}
