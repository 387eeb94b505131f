package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// installation is one that wants to serve these namespaces.
func installation(c client.Client, holder string, namespaces ...string) *scope {
	return &scope{
		client: c, log: logr.Discard(), holder: holder, namespaces: namespaces, now: time.Now,
		sleep: func(context.Context, time.Duration) error { return errors.New("it waits") },
	}
}

// claimed is an API server with the claim of another installation, renewed so long ago.
func claimed(name, holder string, ago time.Duration) *fake.ClientBuilder {
	return fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: claimNamespace, Name: name},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To(holder),
			RenewTime: ptr.To(metav1.NewMicroTime(time.Now().Add(-ago)))},
	})
}

func TestTwoInstallationsNeverServeTheSameNamespace(t *testing.T) {
	const lately = time.Second
	for name, test := range map[string]struct {
		theirs     string
		holder     string
		ago        time.Duration
		namespaces []string
		want       string // what it says; empty: it serves
	}{
		"all and all": {claimAll, "first", lately, nil,
			"the operator in the namespace first serves all namespaces already, and two would spend the same grants"},
		"all and one": {claimAll, "first", lately, []string{"a"},
			"the operator in the namespace first serves all namespaces already"},
		"one and all": {claimAll + ".a", "first", lately, nil,
			"the operator in the namespace first serves the namespace a already"},
		"one of several": {claimAll + ".a", "first", lately, []string{"b", "a"},
			"serves the namespace a already"},
		"one and another":                        {claimAll + ".a", "first", lately, []string{"b"}, ""},
		"one and one of a longer name":           {claimAll + ".a", "first", lately, []string{"a-b"}, ""},
		"a replica of the same":                  {claimAll, "second", lately, nil, ""},
		"a Lease of another program":             {claimAll + "s", "first", lately, nil, ""},
		"a claim that may still hold is watched": {claimAll, "first", 2 * claimFor, nil, "it waits"},
		"a clock ahead is no reason to go on":    {claimAll, "first", -claimForgotten, nil, "already"},
		"a claim of long ago is nobody's":        {claimAll, "first", 2 * claimForgotten, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := claimed(test.theirs, test.holder, test.ago).Build()
			err := installation(c, "second", test.namespaces...).claim(t.Context())
			if (err == nil) != (test.want == "") || (err != nil && (!strings.Contains(err.Error(), test.want) ||
				strings.Contains(err.Error(), "\n"))) {
				t.Fatalf("it says %v, want %q", err, test.want)
			}
			for _, name := range installation(c, "second", test.namespaces...).names() {
				var l coordinationv1.Lease
				err := c.Get(t.Context(), client.ObjectKey{Namespace: claimNamespace, Name: name}, &l)
				if held := err == nil && *l.Spec.HolderIdentity == "second"; held != (test.want == "") {
					t.Errorf("%s is held: %t", name, held)
				}
			}
		})
	}
}

func TestOfTwoThatBeginAtOnceOneSeesTheOther(t *testing.T) {
	lists := 0
	var rival *scope
	c := fake.NewClientBuilder().WithScheme(newScheme()).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if lists++; lists == 2 { // between what the first sees and what it writes
				return errors.Join(err, rival.claim(ctx))
			}
			return err
		},
	}).Build()
	rival = installation(c, "rival", "a")
	if err := installation(c, "first").claim(t.Context()); !errors.Is(err, errServed) {
		t.Errorf("both serve the namespace a: %v", err)
	}
}

func TestAnAbandonedClaimIsTakenOverUnlessItsHolderWakesUp(t *testing.T) {
	for name, wakes := range map[string]bool{"it is gone": false, "it wakes up": true} {
		c := claimed(claimAll, "first", 2*claimFor).Build()
		s := installation(c, "second", "a")
		s.sleep = func(ctx context.Context, d time.Duration) error {
			if wakes {
				return errors.Join(installation(c, "first").renew(ctx), nil)
			}
			if d != claimFor {
				t.Errorf("it is watched for %s", d)
			}
			return nil
		}
		if err := s.claim(t.Context()); errors.Is(err, errServed) != wakes || (err != nil && !wakes) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClaimIsRenewedUntilItIsAnothersOrRunsOut(t *testing.T) {
	refused := errors.New("no route to host")
	for name, test := range map[string]struct {
		alone, away bool // away: the API server
		thief       string
		rounds      int // after which the process ends
		want        error
	}{
		"it is renewed until the end":                           {rounds: 7},
		"with leader election an outage is the leader's affair": {away: true, rounds: 7},
		"alone it ends before the claim runs out":               {alone: true, away: true, rounds: 7, want: refused},
		"it ends when another has the claim":                    {thief: "thief", rounds: 7, want: errServed},
	} {
		t.Run(name, func(t *testing.T) {
			now, rounds := time.Now(), 0
			c := fake.NewClientBuilder().WithScheme(newScheme()).WithInterceptorFuncs(interceptor.Funcs{
				List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
					if test.away && rounds > 0 {
						return refused
					}
					return c.List(ctx, list, opts...)
				},
			}).Build()
			s := installation(c, "first")
			s.alone, s.now = test.alone, func() time.Time { return now }
			if err := s.claim(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.sleep = func(ctx context.Context, d time.Duration) error {
				if rounds++; rounds > test.rounds {
					return context.Canceled
				}
				now = now.Add(d)
				if test.thief != "" && rounds == 3 {
					thief := installation(c, test.thief)
					return thief.write(ctx, claimAll, lease(t, c))
				}
				return nil
			}
			if err := s.Start(t.Context()); !errors.Is(err, test.want) || (test.want == nil && err != nil) {
				t.Errorf("it ends with %v, want %v", err, test.want)
			}
			if l := lease(t, c); test.want == nil && !test.away && !l.Spec.RenewTime.Time.Equal(now.Truncate(time.Microsecond)) {
				t.Errorf("the claim was renewed at %s last, it is %s", l.Spec.RenewTime, now)
			}
		})
	}
}

func lease(t *testing.T, c client.Client) *coordinationv1.Lease {
	t.Helper()
	l := &coordinationv1.Lease{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: claimNamespace, Name: claimAll}, l); err != nil {
		t.Fatal(err)
	}
	return l
}
