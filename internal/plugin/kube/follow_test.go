package kube_test

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// instant is a clock on which every wait is over at once.
type instant struct{ clock.RealClock }

func (instant) After(time.Duration) <-chan time.Time {
	passed := make(chan time.Time, 1)
	passed <- time.Time{}
	return passed
}

func TestAUserIsUnknownOnlyIfTheAPIServerSaysSoTwiceRunning(t *testing.T) {
	unknown := apierrors.NewUnauthorized("who are you?")
	for name, test := range map[string]struct {
		answers []error
		want    bool
	}{
		"one that is refused once":          {[]error{unknown, nil, unknown, nil}, false},
		"one that is refused after another": {[]error{unknown, errors.New("no API server"), unknown, nil}, false},
		"one that is refused twice":         {[]error{nil, unknown, unknown, nil}, true},
	} {
		m, look, lost := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "notion"}}, 0, 0
		c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(kube.Scheme()).WithObjects(m).Build(),
			interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
					options ...client.GetOption) error {
					look++
					if err := test.answers[look-1]; err != nil {
						return err
					}
					return c.Get(ctx, key, o, options...)
				},
			})
		f := &kube.Factory{Clock: instant{}}
		see := func(*v1alpha1.MCPConnection) (bool, error) { return look == len(test.answers), nil }
		err := f.Follow(t.Context(), c, m, see, func(error) { lost++ })
		if (err != nil) != test.want || err != nil && !apierrors.IsUnauthorized(err) || lost == 0 {
			t.Errorf("%s: %v after %d looks, %d outages told", name, err, look, lost)
		}
	}
}
