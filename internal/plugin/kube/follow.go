package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// LookInterval is how often Follow looks. It asks for no right to watch, and countdowns want a look every second
// anyway.
const LookInterval = 500 * time.Millisecond

// errTimedOut is the cause of a context that WithTimeout ended.
var errTimedOut = errors.New("--timeout passed")

// WithTimeout is a context that ends after a time; 0 is no end. Its cause tells it from an interruption.
func WithTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, errTimedOut)
}

// Follow looks at a connection twice a second until see says that it is done, or returns an error. An API server that
// stops to answer is asked again, and lost is called with the reason, once per outage; what it answers with certainty
// ends Follow: the object is deleted, the right to read it is gone, or the user is unknown twice running. The end of
// the context is an error too.
func (f *Factory) Follow(ctx context.Context, c client.Reader, m *v1alpha1.MCPConnection,
	see func(*v1alpha1.MCPConnection) (bool, error), lost func(error)) error {
	key, uid, down, unknown := client.ObjectKeyFromObject(m), m.UID, false, false
	for {
		if done, err := see(m); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return Ended(ctx)
		case <-f.Clock.After(LookInterval):
		}
		next, err := look(ctx, c, key, uid)
		before := unknown
		unknown = apierrors.IsUnauthorized(err) // an API server that starts, or a token that was rotated, says so once
		switch {
		case err == nil:
			m, down = next, false
		case ctx.Err() != nil:
			return Ended(ctx)
		case certain(err), before && unknown:
			return err
		case !down:
			down = true
			lost(Explain(err))
		}
	}
}

// look reads a connection once more.
func look(ctx context.Context, c client.Reader, key types.NamespacedName,
	uid types.UID) (*v1alpha1.MCPConnection, error) {
	m := &v1alpha1.MCPConnection{}
	err := c.Get(ctx, key, m)
	switch {
	case apierrors.IsNotFound(err), err == nil && m.UID != uid:
		return nil, Exit(ExitFailed, "MCPConnection %s was deleted meanwhile", key)
	case err != nil:
		return nil, fmt.Errorf("read MCPConnection %s: %w", key, err)
	}
	return m, nil
}

// certain reports whether asking again would change nothing.
func certain(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
}

// Ended is the error of a context that is over: ExitTimedOut if its --timeout passed, else that of Interrupted.
func Ended(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTimedOut) {
		return &ExitError{Code: ExitTimedOut, Err: cause}
	}
	return Interrupted(ctx)
}
