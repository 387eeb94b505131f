package claims

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTheTimeOutsOfASpendLieInOrder(t *testing.T) {
	if SendBy <= 0 || ResponseTimeout <= SendBy || Margin <= 0 {
		t.Errorf("sent by %s, answered within %s, margin %s", SendBy, ResponseTimeout, Margin)
	}
	if TakeoverAfter != SendBy+ResponseTimeout+Margin {
		t.Errorf("a claim is taken over after %s, before its holder must have given up", TakeoverAfter)
	}
}

// The default is not exported; the program relies on it unless it sets Timeout.
func TestTheClientWaitsAsLongAsTheClaimAllows(t *testing.T) {
	source, err := os.ReadFile("../mcpoauth/client.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`defaultTimeout\s+= (\d+) \* time\.Second`).FindSubmatch(source)
	if found == nil {
		t.Fatal("no default time-out in mcpoauth")
	}
	if seconds, err := time.ParseDuration(string(found[1]) + "s"); err != nil || seconds != ResponseTimeout {
		t.Errorf("mcpoauth waits %s, a claim allows for %s: %v", seconds, ResponseTimeout, err)
	}
}

func TestAForeignClaimIsTakenOverOnlyAfterItWasWatchedUnchanged(t *testing.T) {
	p := &Process{Holder: "this"}
	wait := func(id string, at, want time.Duration) {
		t.Helper()
		if got := p.Wait("uid", &credential.Claim{ID: id, Holder: "other"}, epoch.Add(at)); got != want {
			t.Errorf("at %s the claim %s is watched for %s more, want %s", at, id, got, want)
		}
	}
	wait("a", 0, TakeoverAfter)
	wait("a", 10*time.Second, TakeoverAfter-10*time.Second)
	wait("a", TakeoverAfter-1, 1)
	wait("a", TakeoverAfter, 0)
	wait("a", time.Hour, 0)
	wait("b", time.Hour, TakeoverAfter) // another claim is watched from the start
	wait("b", time.Hour+time.Second, TakeoverAfter-time.Second)
	wait("a", time.Hour+time.Second, TakeoverAfter)
	p.Forget("uid")
	wait("a", 2*time.Hour, TakeoverAfter)
	if got := p.Wait("other", &credential.Claim{ID: "a", Holder: "other"}, epoch.Add(3*time.Hour)); got != TakeoverAfter {
		t.Errorf("another connection's claim is watched for %s", got)
	}
	wait("a", 3*time.Hour, 0)
}

func TestAClaimThatNobodyElseCanHoldIsNotWatched(t *testing.T) {
	for name, test := range map[string]struct {
		process *Process
		holder  string
		want    time.Duration
	}{
		"Its own":                               {&Process{Holder: "pod/2", Pod: "pod"}, "pod/2", 0},
		"One of an earlier process of its pod":  {&Process{Holder: "pod/2", Pod: "pod"}, "pod/1", 0},
		"One of another pod":                    {&Process{Holder: "pod/2", Pod: "pod"}, "other/1", TakeoverAfter},
		"One of a pod whose name begins alike":  {&Process{Holder: "pod/2", Pod: "pod"}, "pod2/1", TakeoverAfter},
		"One of another process outside of any": {&Process{Holder: "a"}, "b", TakeoverAfter},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.process.Wait("uid", &credential.Claim{ID: "c", Holder: test.holder}, epoch); got != test.want {
				t.Errorf("it is watched for %s, want %s", got, test.want)
			}
		})
	}
}

func TestTwoClaimsOfOneProcessDiffer(t *testing.T) {
	p := &Process{Holder: "process"}
	a, b := p.New(), p.New()
	if a.ID == b.ID || len(a.ID) < 16 || a.Holder != "process" || b.Holder != "process" {
		t.Errorf("the claims are %+v and %+v", a, b)
	}
}
