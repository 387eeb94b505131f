package slots

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	attackLasts    = 15 * time.Minute
	attackersEach  = 150 // in each of ten namespaces
	victimsHost    = "https://host-0.example.com"
	victimsLife    = 2 * time.Minute
	victimsRefresh = victimsLife * 2 / 3
	answersIn      = time.Second
	// firstWave is how long hosts that hang are not known yet, and hold all workers.
	firstWave = 2 * time.Minute
)

// attack is connections in ten namespaces that ask ten hosts for whatever does most harm. One host is the
// victim's, and answers; the others hang or answer as they like.
type attack struct {
	f      *flood
	random *rand.Rand
	// next is when each attacker may ask again: nobody refreshes more often than minRefreshInterval allows.
	next map[types.NamespacedName]time.Time
}

// ask has every attacker who is at rest do something.
func (a *attack) ask() {
	now := a.f.now
	for ns := range 10 {
		for i := range attackersEach {
			conn := named(fmt.Sprint("attack-", ns), fmt.Sprint("c-", i))
			if a.f.jobs[conn] == nil && !now.Before(a.next[conn]) {
				a.next[conn] = now.Add(minRefreshInterval + time.Duration(a.random.IntN(5))*time.Second)
				a.f.ask(conn, a.job(now))
			}
		}
	}
}

func (a *attack) job(now time.Time) *job {
	host := a.random.IntN(10)
	j := &job{url: fmt.Sprintf("https://host-%d.example.com/token", host), takes: answersIn}
	if host > 0 && a.random.IntN(2) == 0 {
		j.takes = responseTimeout
	}
	switch a.random.IntN(5) {
	case 0: // new, or changed
	case 1:
		j.urgency = RefreshUrgency(now.Add(5*time.Second), true)
	case 2:
		j.urgency = DueExchange
	default: // of the shortest life there is
		j.urgency = RefreshUrgency(now.Add(5*time.Second), false)
	}
	return j
}

func TestAVictimsWorkIsDoneInTimeWhileTenNamespacesAttackTenHosts(t *testing.T) {
	for seed := range uint64(3) {
		a := &attack{f: newFlood(t), random: rand.New(rand.NewPCG(seed, 0)), next: map[types.NamespacedName]time.Time{}}
		var all []*job
		for second := range int(attackLasts / time.Second) {
			a.ask()
			now := a.f.now
			if second%int(victimsRefresh/time.Second) == 0 {
				all = append(all, a.f.ask(named("victim", "refreshes"),
					&job{url: victimsHost, urgency: RefreshUrgency(now.Add(victimsLife-victimsRefresh), false), takes: answersIn}))
			}
			if second%90 == 45 {
				all = append(all, a.f.ask(named("victim", "consents"), &job{url: victimsHost, urgency: DueExchange,
					takes: answersIn}))
			}
			a.f.work()
			a.f.tick()
		}
		for _, j := range all {
			waited, after := j.done.Sub(j.due)-j.takes, j.due.Sub(epoch)
			switch {
			case j.done.IsZero():
				if attackLasts-after > firstWave { // else it is under way
					t.Errorf("seed %d: what was due after %s was never done", seed, after)
				}
			case after < firstWave && waited > responseTimeout:
				t.Errorf("seed %d: at first %s waits %s", seed, after, waited)
			case after >= firstWave && waited > 3*time.Second:
				t.Errorf("seed %d: after %s it waits %s", seed, after, waited)
			}
		}
	}
}
