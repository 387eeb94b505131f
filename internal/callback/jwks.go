package callback

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

const (
	// jwksFreshFor is how long a replica serves a set of keys without looking again. A new key is published a day before
	// it signs.
	jwksFreshFor = time.Minute
	// jwksLookAgain is how soon it looks again after there was nothing to serve: the first key signs at once.
	jwksLookAgain = 2 * time.Second
)

// publicKeys is the set of the operator's public keys as read last, so that strangers cost the API server little.
type publicKeys struct {
	mu     sync.Mutex
	set    []byte
	err    error
	lookAt time.Time
}

// get reads the set if it is time. While it cannot be read, the one read last is served.
func (k *publicKeys) get(now time.Time, read func() ([]byte, error)) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.lookAt) {
		return k.set, k.err
	}
	set, err := read()
	k.lookAt = now.Add(jwksLookAgain)
	switch {
	case err != nil && len(k.set) > 0:
		return k.set, nil
	case err == nil && len(set) > 0:
		k.lookAt = now.Add(jwksFreshFor)
	}
	k.set, k.err = set, err
	return set, err
}

// jwks serves the operator's public keys, by which authorization servers check its assertions.
func (s *Server) jwks(x *exchange) {
	if !s.allow(x, http.MethodGet, http.MethodHead) {
		return
	}
	set, err := s.keys.get(s.o.Now(), func() (set []byte, err error) {
		// The answer is for others too, should this one hang up.
		err = s.call(context.WithoutCancel(x.r.Context()), func(ctx context.Context) error {
			set, err = s.o.Store.JWKS(ctx)
			return err
		})
		return set, err
	})
	switch {
	case errors.Is(err, credential.ErrUnknownTicket), err == nil && len(set) == 0: // of somebody else, or not there
		s.render(x, notFoundPage())
	case err != nil:
		s.problem(x, err)
	default:
		x.w.Header().Set("Cache-Control", "public, max-age=300")
		s.write(x, http.StatusOK, "application/json", append(set[:len(set):len(set)], '\n'))
	}
}
