package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Annotations of the credential Secret, readable without its contents.
const (
	// AnnotationConnection is namespace/name of the connection.
	AnnotationConnection = v1alpha1.Prefix + "connection"
	// AnnotationUID is the UID of the connection.
	AnnotationUID = v1alpha1.Prefix + "connection-uid"
	// AnnotationRevision grows with every authorization response recorded.
	AnnotationRevision = v1alpha1.Prefix + "authorization-revision"
	// AnnotationHandled is the last revision that the reconciler has dealt with.
	AnnotationHandled = v1alpha1.Prefix + "authorization-handled"
	// AnnotationWrites grows with every write of the reconciler, and with none of the callback's.
	AnnotationWrites = v1alpha1.Prefix + "revision"
)

// ErrForeign is returned for a Secret of the right name that belongs to another connection, or to nobody.
var ErrForeign = errors.New("the credential Secret does not belong to this connection")

// Store reads and writes credential Secrets, always live.
type Store struct {
	client    client.Client
	namespace string
}

// NewStore makes a store in the operator's namespace. The client must not read from a cache.
func NewStore(c client.Client, namespace string) *Store {
	return &Store{client: c, namespace: namespace}
}

// Namespace is where the credential Secrets are.
func (s *Store) Namespace() string { return s.namespace }

// SecretName is the name of a connection's credential Secret.
func SecretName(uid types.UID) string { return "mcp-connection-" + string(uid) }

// Held is a credential as read, with what is needed to write it back.
type Held struct {
	*Credential
	secret *corev1.Secret
}

// Get reads the credential of a connection. It returns nil without an error if there is none, and ErrForeign,
// ErrNewerFormat or ErrCorrupt for a Secret that must not be used.
func (s *Store) Get(ctx context.Context, uid types.UID) (*Held, error) {
	secret, err := s.read(ctx, uid)
	if secret == nil || err != nil {
		return nil, err
	}
	return hold(uid, secret)
}

// read returns nil without an error if there is none.
func (s *Store) read(ctx context.Context, uid types.UID) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: SecretName(uid)}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the credential Secret: %w", err)
	}
	return secret, nil
}

func hold(uid types.UID, secret *corev1.Secret) (*Held, error) {
	if secret.Annotations[AnnotationUID] != string(uid) {
		return nil, ErrForeign
	}
	c, err := decode(secret)
	if err != nil {
		return nil, err
	}
	return &Held{Credential: c, secret: secret}, nil
}

// Create makes a credential Secret with the content that mutate leaves. If another process was faster, an
// AlreadyExists error is returned.
func (s *Store) Create(ctx context.Context, owner Connection, mutate func(*Credential) error) (*Held, error) {
	c := &Credential{}
	if err := mutate(c); err != nil {
		return nil, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.namespace,
		Name:      SecretName(owner.UID),
		Labels: map[string]string{
			v1alpha1.LabelManagedBy:  v1alpha1.ManagedBy,
			v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential,
		},
		Annotations: map[string]string{
			AnnotationConnection: owner.Namespace + "/" + owner.Name,
			AnnotationUID:        string(owner.UID),
		},
	}}
	if _, err := encode(c, secret, nil); err != nil {
		return nil, err
	}
	if err := bounded(size{}, measure(c).in(secret), corev1.MaxSecretSize); err != nil {
		return nil, err
	}
	if err := s.client.Create(ctx, secret); err != nil {
		return nil, NewWriteError("create", secret, err)
	}
	return &Held{Credential: c, secret: secret}, nil
}

// Update is the reconciler's: it changes a credential by compare-and-swap, and raises AnnotationWrites. mutate checks
// its own preconditions: on a conflict the Secret is read again and mutate runs on what is there then. An error of
// mutate is returned as it is and nothing is written. What would be larger than its bounds is ErrTooLarge.
func (s *Store) Update(ctx context.Context, held *Held, mutate func(*Credential) error) (*Held, error) {
	return s.swap(ctx, held, corev1.MaxSecretSize, raising(mutate))
}

// UpdateAuthorization is Update for the callback, which changes the authorization alone: what the reconciler decided
// holds as long as no response is recorded.
func (s *Store) UpdateAuthorization(ctx context.Context, held *Held, mutate func(*Authorization) error) (*Held, error) {
	return s.swap(ctx, held, corev1.MaxSecretSize, func(c *Credential) error { return mutate(&c.Authorization) })
}

// raising has a change counted among the writes of the reconciler.
func raising(mutate func(*Credential) error) func(*Credential) error {
	return func(c *Credential) error {
		before, err := marshal(c)
		if err != nil {
			return err
		}
		if err := mutate(c); err != nil {
			return err
		}
		after, err := marshal(c)
		if err == nil && !maps.EqualFunc(before, after, bytes.Equal) {
			c.Writes++
		}
		return err
	}
}

// swap changes a credential within a size.
func (s *Store) swap(ctx context.Context, held *Held, maxTotal int, mutate func(*Credential) error) (*Held, error) {
	uid := types.UID(held.secret.Annotations[AnnotationUID])
	for {
		next, err := s.write(ctx, uid, held, maxTotal, mutate)
		if !apierrors.IsConflict(err) {
			return next, err
		}
		held, err = s.Get(ctx, uid)
		if err != nil {
			return nil, err
		}
		if held == nil {
			return nil, apierrors.NewNotFound(corev1.Resource("secrets"), SecretName(uid))
		}
	}
}

// maxSaveDelay and a fifth of it is at most a minute.
const maxSaveDelay = 50 * time.Second

// Save is Update for what must not be lost: it goes on through every error of the API server until the answer is
// written, mutate refuses, or ctx ends. Only what can never be stored ends it too, with ErrTooLarge: a policy, a quota
// or a role may change in a minute. failed, if not nil, is called with each error that may pass, and with the time
// until the next try.
func (s *Store) Save(ctx context.Context, held *Held, mutate func(*Credential) error,
	failed func(error, time.Duration)) (*Held, error) {
	delay := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 12,
		Cap: maxSaveDelay}.DelayFunc()
	for first := true; ; first = false {
		saved, err := s.swap(ctx, held, maxSaved, raising(mutate))
		switch {
		case err == nil:
			if !first {
				log.FromContext(ctx).Info("an answer that could not be saved is saved now")
			}
			return saved, nil
		case refusedForSize(err):
			log.FromContext(ctx).Error(err, "the API server refuses for its size what is within the bounds; this is a bug of "+
				"the operator, please report it")
			return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
		case !mayPass(err):
			return nil, err
		case first:
			log.FromContext(ctx).Error(err, "an answer cannot be saved and is in memory only; saving goes on until it is")
		}
		pause := delay()
		if failed != nil {
			failed(err, pause)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// mayPass reports whether a save that failed may succeed later.
func mayPass(err error) bool {
	var status apierrors.APIStatus
	return !apierrors.IsNotFound(err) && (errors.As(err, &status) || isTransport(err))
}

func (s *Store) write(ctx context.Context, uid types.UID, held *Held, maxTotal int,
	mutate func(*Credential) error) (*Held, error) {
	secret := held.secret.DeepCopy()
	c, err := decode(secret)
	if err != nil {
		return nil, err
	}
	before, err := marshal(c)
	if err != nil {
		return nil, err
	}
	sizeBefore := measure(c).in(secret)
	if err := mutate(c); err != nil {
		return nil, refusal{err}
	}
	changed, err := encode(c, secret, before)
	if err != nil {
		return nil, err
	}
	if !changed {
		return &Held{Credential: c, secret: secret}, nil
	}
	if err := bounded(sizeBefore, measure(c).in(secret), maxTotal); err != nil {
		return nil, err
	}
	if err := s.client.Update(ctx, secret); err != nil {
		return nil, NewWriteError("update", secret, err)
	}
	return hold(uid, secret)
}

// Delete removes a connection's credential Secret, if it is there.
func (s *Store) Delete(ctx context.Context, held *Held) error { return s.remove(ctx, held.secret) }

// DeleteCorrupt removes a connection's credential Secret whose content is lost anyway. It returns ErrForeign or
// ErrNewerFormat for one that must stay: it is of use to somebody else.
func (s *Store) DeleteCorrupt(ctx context.Context, uid types.UID) error {
	secret, err := s.read(ctx, uid)
	if secret == nil || err != nil {
		return err
	}
	if _, err := hold(uid, secret); !errors.Is(err, ErrCorrupt) {
		return err
	}
	return s.remove(ctx, secret)
}

func (s *Store) remove(ctx context.Context, secret *corev1.Secret) error {
	uid, version := secret.UID, secret.ResourceVersion
	err := s.client.Delete(ctx, secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return NewWriteError("delete", secret, client.IgnoreNotFound(err))
}

// refusal marks an error of mutate, to tell it from errors of the API server.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// isTransport reports whether err is not a refusal of mutate nor a broken Secret, and so came from the way to the API
// server.
func isTransport(err error) bool {
	var r refusal
	return !errors.As(err, &r) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) &&
		!errors.Is(err, ErrForeign)
}
