package callback

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// storeTimeout bounds each call to the API server.
const storeTimeout = 5 * time.Second

// Meta is what the metadata of a credential Secret says.
type Meta struct {
	// Namespace and Name of the connection.
	Namespace string
	Name      string
	// Revision counts the authorization responses recorded, Handled is the last one that the reconciler dealt with.
	Revision int64
	Handled  int64
}

// name is namespace/name of the connection; empty if there is none.
func (m Meta) name() string {
	if m.Name == "" {
		return ""
	}
	return m.Namespace + "/" + m.Name
}

// Lookup finds the credential Secret of a connection.
type Lookup interface {
	// Lookup returns false if there is none.
	Lookup(ctx context.Context, uid types.UID) (Meta, bool, error)
}

// NewLookup reads metadata of Secrets in the operator's namespace from reader: the manager's cache, or live.
func NewLookup(reader client.Reader, namespace string) Lookup {
	return metadataLookup{reader: reader, namespace: namespace}
}

type metadataLookup struct {
	reader    client.Reader
	namespace string
}

func (l metadataLookup) Lookup(ctx context.Context, uid types.UID) (Meta, bool, error) {
	secret := credential.SecretMetadata()
	err := l.reader.Get(ctx, types.NamespacedName{Namespace: l.namespace, Name: credential.SecretName(uid)}, secret)
	if apierrors.IsNotFound(err) {
		return Meta{}, false, nil
	}
	if err != nil {
		return Meta{}, false, fmt.Errorf("looking up metadata of a credential Secret: %w", err)
	}
	connection, ok := credential.ConnectionOf(secret)
	if !ok || secret.Annotations[credential.AnnotationUID] != string(uid) ||
		secret.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeCredential {
		return Meta{}, false, nil
	}
	return Meta{
		Namespace: connection.Namespace, Name: connection.Name,
		Revision: number(secret.Annotations[credential.AnnotationRevision]),
		Handled:  number(secret.Annotations[credential.AnnotationHandled]),
	}, true, nil
}

// number reads an annotation that the operator wrote; anything else counts as 0.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Errors of a visit beyond those of package credential.
var (
	errGone        = errors.New("the connection was deleted")
	errSuspended   = errors.New("the connection is suspended")
	errUnavailable = errors.New("the API server cannot be reached")
	errBroken      = errors.New("the credential Secret cannot be used")
)

// visit is one look at a connection: cached facts, and its credential as it is now.
type visit struct {
	uid       types.UID
	meta      Meta
	held      *credential.Held
	suspended bool
	gone      bool
	// conditions of the connection; none if it is gone.
	conditions []metav1.Condition
}

// visit finds the connection of a ticket or state. It returns ErrUnknownTicket for one that cannot exist.
func (s *Server) visit(ctx context.Context, ticket string) (*visit, error) {
	uid, ok := credential.TicketUID(ticket)
	if !ok {
		return nil, credential.ErrUnknownTicket
	}
	meta, ok, err := s.o.Secrets.Lookup(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if !ok {
		if meta, err = s.lookUpLive(ctx, uid); err != nil {
			return nil, err
		}
	}
	if err := s.perConnection.take(string(uid), s.o.Now()); err != nil {
		return nil, err
	}
	v := &visit{uid: uid, meta: meta}
	if err = s.connection(ctx, v); err != nil {
		return nil, err
	}
	if v.held, err = s.read(ctx, uid); err != nil {
		return nil, err
	}
	return v, nil
}

// lookUpLive is for what the cache does not know, or not yet: few such calls are made, so that tickets made up by
// strangers cost little.
func (s *Server) lookUpLive(ctx context.Context, uid types.UID) (meta Meta, err error) {
	if err := take(s.unknown, s.o.Now()); err != nil {
		return Meta{}, err
	}
	found := false
	err = s.call(ctx, func(ctx context.Context) (err error) {
		meta, found, err = s.o.Live.Lookup(ctx, uid)
		return err
	})
	if err == nil && !found {
		err = credential.ErrUnknownTicket
	}
	return meta, err
}

// connection notes what the cache holds of the connection: whether it is suspended, whether it is gone or going, and
// how it stands.
func (s *Server) connection(ctx context.Context, v *visit) error {
	c := &v1alpha1.MCPConnection{}
	v.suspended, v.gone, v.conditions = false, true, nil
	err := s.o.Connections.Get(ctx, types.NamespacedName{Namespace: v.meta.Namespace, Name: v.meta.Name}, c)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("%w: reading the connection: %w", errUnavailable, err)
	}
	v.suspended = c.Spec.Suspend != nil && *c.Spec.Suspend
	if v.gone = c.UID != v.uid || !c.DeletionTimestamp.IsZero(); !v.gone {
		v.conditions = c.Status.Conditions
	}
	return nil
}

// read gets the credential live.
func (s *Server) read(ctx context.Context, uid types.UID) (*credential.Held, error) {
	var held *credential.Held
	err := s.call(ctx, func(ctx context.Context) (err error) {
		held, err = s.o.Store.Get(ctx, uid)
		return err
	})
	if err == nil && held == nil {
		err = credential.ErrUnknownTicket
	}
	return held, err
}

// update changes the authorization, and nothing else, of a credential by compare-and-swap. Errors of mutate come back
// as they are.
func (s *Server) update(ctx context.Context, v *visit, mutate func(*credential.Authorization) error) error {
	var refused error
	err := s.call(ctx, func(ctx context.Context) error {
		_, err := s.o.Store.UpdateAuthorization(ctx, v.held, func(a *credential.Authorization) error {
			refused = mutate(a)
			return refused
		})
		return err
	})
	if refused != nil {
		return refused
	}
	return err
}

// call makes one bounded call to the API server and sorts its errors.
func (s *Server) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-ctx.Done():
		return fmt.Errorf("%w: too many calls at once", errUnavailable)
	}
	err := f(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, credential.ErrForeign), apierrors.IsNotFound(err):
		return credential.ErrUnknownTicket
	case errors.Is(err, credential.ErrCorrupt), errors.Is(err, credential.ErrNewerFormat):
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return fmt.Errorf("%w: %w", errUnavailable, err)
}
