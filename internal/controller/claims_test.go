package controller

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"
)

func TestTheTimeOutsOfASpendLieInOrder(t *testing.T) {
	if sendBy <= 0 || responseTimeout <= sendBy || claimMargin <= 0 {
		t.Errorf("sent by %s, answered within %s, margin %s", sendBy, responseTimeout, claimMargin)
	}
	if takeoverAfter != sendBy+responseTimeout+claimMargin {
		t.Errorf("a claim is taken over after %s, before its holder must have given up", takeoverAfter)
	}
	if takeoverAfter >= finalizeWithin || takeoverAfter >= codeLifetime || responseTimeout >= discoverTimeout {
		t.Error("a claim outlives what it is for")
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
	if seconds, err := time.ParseDuration(string(found[1]) + "s"); err != nil || seconds != responseTimeout {
		t.Errorf("mcpoauth waits %s, a claim allows for %s: %v", seconds, responseTimeout, err)
	}
}

func TestAForeignClaimIsTakenOverOnlyAfterItWasWatchedUnchanged(t *testing.T) {
	var w claimWatch
	wait := func(id string, at, want time.Duration) {
		t.Helper()
		if got := w.wait("uid", id, epoch.Add(at)); got != want {
			t.Errorf("at %s the claim %s is watched for %s more, want %s", at, id, got, want)
		}
	}
	wait("a", 0, takeoverAfter)
	wait("a", 10*time.Second, takeoverAfter-10*time.Second)
	wait("a", takeoverAfter-1, 1)
	wait("a", takeoverAfter, 0)
	wait("a", time.Hour, 0)
	wait("b", time.Hour, takeoverAfter) // another claim is watched from the start
	wait("b", time.Hour+time.Second, takeoverAfter-time.Second)
	wait("a", time.Hour+time.Second, takeoverAfter)
	w.forget("uid")
	wait("a", 2*time.Hour, takeoverAfter)
	if got := w.wait("other", "a", epoch.Add(3*time.Hour)); got != takeoverAfter {
		t.Errorf("another connection's claim is watched for %s", got)
	}
	wait("a", 3*time.Hour, 0)
}

func TestTwoClaimsOfOneProcessDiffer(t *testing.T) {
	r := &Reconciler{Holder: "process"}
	a, b := r.newClaim(), r.newClaim()
	if a.ID == b.ID || len(a.ID) < 16 || a.Holder != "process" || b.Holder != "process" {
		t.Errorf("the claims are %+v and %+v", a, b)
	}
}

func TestASpendIsNeitherBegunAfterAStopNorEndedByOne(t *testing.T) {
	r := &Reconciler{}
	ctx, stop := context.WithCancel(context.Background())
	wanted := errors.New("wanted")
	err := r.spend(ctx, &observed{}, func(inner context.Context) error {
		stop()
		if inner.Err() != nil {
			t.Error("the stop ended a spend halfway")
		}
		if r.Drain(0) {
			t.Error("an answer is not saved, and nobody waits for it")
		}
		return wanted
	})
	if !errors.Is(err, wanted) || !r.Drain(time.Minute) {
		t.Errorf("it ended with %v", err)
	}
	err = r.spend(ctx, &observed{}, func(context.Context) error {
		t.Error("a spend began after the stop")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
