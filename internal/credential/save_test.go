package credential

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// newBubble is an API server in memory, for saves that go on for minutes: time passes at once in the bubble of a test,
// which nothing outside of it may speak to.
func newBubble(t *testing.T) (*apiServer, *Store, *Held) {
	t.Helper()
	api, store := serve(fake.NewClientBuilder().Build(), "operator")
	held, err := store.Create(t.Context(), owner, first)
	if err != nil {
		t.Fatal(err)
	}
	return api, store, held
}

func invalid(problem *field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), SecretName(uid),
		field.ErrorList{problem})
}

func TestSaveGoesOnThroughErrorsOfTheAPIServer(t *testing.T) {
	for name, failure := range map[string]error{
		"no connection": errors.New("dial tcp: connection refused"),
		"a 500":         apierrors.NewInternalError(errors.New("etcd")),
		"throttled":     apierrors.NewTooManyRequests("slow down", 1),
		"forbidden":     apierrors.NewForbidden(corev1.Resource("secrets"), "x", nil),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, store, held := newBubble(t)
				api.onUpdate = func() error {
					if api.updates < 20 {
						return failure
					}
					return nil
				}
				saved, err := store.Save(t.Context(), held, addGrant, nil)
				if err != nil || len(saved.Grants) != 2 || api.updates != 20 {
					t.Errorf("%d updates, %v", api.updates, err)
				}
			})
		})
	}
}

func TestSaveEndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, store, held := newBubble(t)
		broken := errors.New("connection refused")
		api.onUpdate = func() error { return broken }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := store.Save(ctx, held, addGrant, nil); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		if api.updates < 5 {
			t.Errorf("only %d tries in a minute", api.updates)
		}
	})
}

func TestSaveEndsOnlyWhereTheAnswerCanNeverBeStored(t *testing.T) {
	for name, c := range map[string]struct {
		failure error
		ends    bool
	}{
		"413":                         {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), true},
		"422 for the size of data":    {invalid(field.TooLong(field.NewPath("data"), "", corev1.MaxSecretSize)), true},
		"422 for something else":      {invalid(field.Required(field.NewPath("metadata", "labels"), "team")), false},
		"422 for the size of a label": {invalid(field.TooLong(field.NewPath("metadata", "labels"), "", 63)), false},
		"422 because it is immutable": {invalid(field.Forbidden(field.NewPath("data"), "field is immutable when "+
			"`immutable` is set")), false},
		"422 of a webhook": {&apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 422,
			Reason: metav1.StatusReasonInvalid}}, false},
		"400 of a webhook": {apierrors.NewBadRequest("denied"), false},
		"403 of a quota":   {apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("exceeded quota")), false},
		"500":              {apierrors.NewInternalError(errors.New("etcd")), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, store, held := newBubble(t)
				api.onUpdate = func() error {
					if api.updates < 20 {
						return c.failure
					}
					return nil
				}
				_, err := store.Save(t.Context(), held, addGrant, nil)
				switch {
				case c.ends && (!errors.Is(err, ErrTooLarge) || api.updates != 1):
					t.Errorf("after %d updates: %v", api.updates, err)
				case !c.ends && (err != nil || api.updates != 20):
					t.Errorf("after %d updates: %v", api.updates, err)
				}
			})
		})
	}
}

func TestSaveWaitsUpToAMinuteBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, store, held := newBubble(t)
		var longest time.Duration
		last := time.Now()
		api.onUpdate = func() error {
			longest, last = max(longest, time.Since(last)), time.Now()
			if api.updates < 20 {
				return apierrors.NewInternalError(errors.New("etcd"))
			}
			return nil
		}
		if _, err := store.Save(t.Context(), held, addGrant, nil); err != nil || longest > time.Minute ||
			longest < 40*time.Second {
			t.Errorf("it waited up to %s: %v", longest, err)
		}
	})
}
