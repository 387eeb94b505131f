package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// claimNamespace holds the claims of all installations, so that each sees the others'.
	claimNamespace = metav1.NamespaceDefault
	// claimAll is the Lease of who serves all namespaces; that of one namespace has its name behind a dot.
	claimAll = program
	// claimEvery is how often a claim is renewed, claimFor how long it holds without.
	claimEvery, claimFor = 15 * time.Second, time.Minute
	// claimForgotten is after what time nobody can still hold a claim, however wrong a clock is.
	claimForgotten = time.Hour
)

// errServed says that another installation serves what this one is to serve.
var errServed = errors.New("two would spend the same grants: uninstall one of them, or have each serve others with " +
	"--watch-namespaces")

// scope is what this installation serves. It is claimed by Leases, since leader election knows only the replicas of one
// installation. All replicas claim for theirs, which its namespace names.
type scope struct {
	client     client.Client // live
	log        logr.Logger
	holder     string   // the operator's namespace
	namespaces []string // empty: all
	// alone is without leader election, which ends a leader long before its claim runs out.
	alone bool
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	passedOver map[string]string // resource versions of claims that nobody holds any more, by name
}

// leases are the claims of installations, by their name.
type leases map[string]*coordinationv1.Lease

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// names are those of the Leases that this installation claims.
func (s *scope) names() []string {
	if len(s.namespaces) == 0 {
		return []string{claimAll}
	}
	names := make([]string, 0, len(s.namespaces))
	for _, namespace := range s.namespaces {
		names = append(names, claimAll+"."+namespace)
	}
	return names
}

// overlaps reports whether a claim is for something that is served here.
func (s *scope) overlaps(name string) bool {
	return name == claimAll || slices.Contains(s.names(), name) ||
		(len(s.namespaces) == 0 && strings.HasPrefix(name, claimAll+"."))
}

// read returns all leases, and those of other installations to what is served here, but for the ones that were passed
// over.
func (s *scope) read(ctx context.Context) (all, others leases, err error) {
	ctx, cancel := context.WithTimeout(ctx, claimEvery)
	defer cancel()
	var list coordinationv1.LeaseList
	if err := s.client.List(ctx, &list, client.InNamespace(claimNamespace)); err != nil {
		return nil, nil, fmt.Errorf("reading the Leases in the namespace %s, by which operators claim what they serve: %w",
			claimNamespace, err)
	}
	all, others = leases{}, leases{}
	for i := range list.Items {
		l := &list.Items[i]
		all[l.Name] = l
		if ptr.Deref(l.Spec.HolderIdentity, s.holder) != s.holder && s.overlaps(l.Name) &&
			s.passedOver[l.Name] != l.ResourceVersion {
			others[l.Name] = l
		}
	}
	return all, others, nil
}

// served is an error if there are claims of others: it says whose.
func served(others leases) error {
	if len(others) == 0 {
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(others)))
	what := "all namespaces"
	if namespace, one := strings.CutPrefix(name, claimAll+"."); one {
		what = "the namespace " + namespace
	}
	return fmt.Errorf("the operator in the namespace %s serves %s already, and %w", *others[name].Spec.HolderIdentity,
		what, errServed)
}

// claim fails if another installation serves something of the scope. Others are looked for once more after the own
// claim is written: of two that begin at once, at least one sees the other.
func (s *scope) claim(ctx context.Context) error {
	_, others, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.passOver(ctx, others); err != nil {
		return err
	}
	if err := s.renew(ctx); err != nil {
		return err
	}
	_, others, err = s.read(ctx)
	return errors.Join(err, served(others))
}

// passOver gives up claims that were not renewed in time. They are watched for as long as they would hold, because
// clocks differ.
func (s *scope) passOver(ctx context.Context, others leases) error {
	s.passedOver = map[string]string{}
	live, watch := leases{}, false
	for name, l := range others {
		age := s.now().Sub(ptr.Deref(l.Spec.RenewTime, metav1.MicroTime{}).Time)
		if age < claimFor {
			live[name] = l
		}
		watch = watch || age < claimForgotten
		s.passedOver[name] = l.ResourceVersion
	}
	if len(live) > 0 || !watch {
		return served(live)
	}
	s.log.Info("another operator served these namespaces lately: waiting until it is sure that it is gone", "seconds",
		claimFor.Seconds())
	return s.sleep(ctx, claimFor)
}

// renew writes the claims, unless another installation has one of them. Another replica of this one may be faster.
func (s *scope) renew(ctx context.Context) error {
	raced := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	return retry.OnError(retry.DefaultRetry, raced, func() error {
		all, others, err := s.read(ctx)
		if err := errors.Join(err, served(others)); err != nil {
			return err
		}
		for _, name := range s.names() {
			if err := s.write(ctx, name, all[name]); err != nil {
				return fmt.Errorf("claiming what is served by the Lease %s in the namespace %s: %w", name, claimNamespace, err)
			}
		}
		return nil
	})
}

// write claims by one Lease; there is the one that is there.
func (s *scope) write(ctx context.Context, name string, there *coordinationv1.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, claimEvery)
	defer cancel()
	l := there
	if l == nil {
		l = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: claimNamespace, Name: name}}
	}
	l.Spec.HolderIdentity, l.Spec.RenewTime = &s.holder, &metav1.MicroTime{Time: s.now()}
	l.Spec.LeaseDurationSeconds = ptr.To(int32(claimFor.Seconds()))
	if there == nil {
		return s.client.Create(ctx, l)
	}
	return s.client.Update(ctx, l)
}

// Start renews the claims until ctx ends, or they are another's.
func (s *scope) Start(ctx context.Context) error {
	renewed := s.now()
	for s.sleep(ctx, claimEvery) == nil {
		err := s.renew(ctx)
		switch {
		case err == nil:
			renewed = s.now()
		case errors.Is(err, errServed):
			return err
		case s.alone && s.now().Sub(renewed) > claimFor-claimEvery:
			return fmt.Errorf("what is served cannot be claimed any longer: %w", err)
		case ctx.Err() == nil:
			s.log.Info("the claim of what is served is not renewed", "answer", err.Error())
		}
	}
	return nil
}

// NeedLeaderElection is false: replicas claim for their installation, whoever leads.
func (s *scope) NeedLeaderElection() bool { return false }
