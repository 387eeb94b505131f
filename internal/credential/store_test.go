package credential

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const namespace = "mcp-connection-system"

var owner = Connection{UID: uid, Namespace: "team-a", Name: "files"}

// apiServer is a fake that can fail.
type apiServer struct {
	client.WithWatch
	onUpdate func() error
	updates  int
}

func newAPIServer(t *testing.T) (*apiServer, *Store) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	s := &apiServer{}
	s.WithWatch = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			s.updates++
			if s.onUpdate != nil {
				if err := s.onUpdate(); err != nil {
					return err
				}
			}
			return c.Update(ctx, obj, opts...)
		},
	})
	return s, NewStore(s.WithWatch, namespace)
}

func (s *apiServer) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := s.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: SecretName(uid)}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

func (s *apiServer) edit(t *testing.T, f func(*corev1.Secret)) {
	t.Helper()
	secret := s.secret(t)
	f(secret)
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s *Store) *Held {
	t.Helper()
	held, err := s.Create(t.Context(), owner, func(c *Credential) error {
		c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp"}, RefreshToken: "rt-1", Generation: 1})
		c.Authorization.Offer = offer("t")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func addGrant(c *Credential) error {
	c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: "i"}})
	return nil
}

func TestCreatedSecretIsLabelledAndReadBackAsItWas(t *testing.T) {
	api, store := newAPIServer(t)
	held := create(t, store)
	secret := api.secret(t)
	if secret.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedBy || secret.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeCredential {
		t.Errorf("labels %v", secret.Labels)
	}
	if secret.Annotations[AnnotationConnection] != "team-a/files" || secret.Annotations[AnnotationUID] != string(uid) || secret.Annotations[AnnotationRevision] != "0" {
		t.Errorf("annotations %v", secret.Annotations)
	}
	if len(secret.OwnerReferences) != 0 {
		t.Error("the Secret would go with its connection, before the grant is revoked")
	}
	got, err := store.Get(t.Context(), uid)
	if err != nil || !reflect.DeepEqual(got.Credential, held.Credential) {
		t.Errorf("read back %+v, %v", got, err)
	}
}

func TestSecondCreateIsRefused(t *testing.T) {
	_, store := newAPIServer(t)
	create(t, store)
	if _, err := store.Create(t.Context(), owner, func(*Credential) error { return nil }); !apierrors.IsAlreadyExists(err) {
		t.Errorf("error %v", err)
	}
}

func TestMissingSecretIsNilWithoutAnError(t *testing.T) {
	_, store := newAPIServer(t)
	if held, err := store.Get(t.Context(), uid); held != nil || err != nil {
		t.Errorf("%v, %v", held, err)
	}
}

func TestACredentialThatCanBeReadIsNotDeletedAsCorrupt(t *testing.T) {
	api, store := newAPIServer(t)
	if err := store.DeleteCorrupt(t.Context(), uid); err != nil {
		t.Errorf("without a Secret: %v", err)
	}
	create(t, store)
	if err := store.DeleteCorrupt(t.Context(), uid); err != nil {
		t.Error(err)
	}
	api.secret(t)
}

func TestSecretsThatMustNotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*corev1.Secret)
		want error
	}{
		"of another connection":         {func(s *corev1.Secret) { s.Annotations[AnnotationUID] = "other" }, ErrForeign},
		"of nobody":                     {func(s *corev1.Secret) { s.Annotations = nil }, ErrForeign},
		"of a newer format":             {func(s *corev1.Secret) { s.Data[keyFormat] = []byte("2") }, ErrNewerFormat},
		"of a format that is no number": {func(s *corev1.Secret) { s.Data[keyFormat] = []byte("hunter2") }, ErrCorrupt},
		"with broken grants":            {func(s *corev1.Secret) { s.Data[keyGrants] = []byte(`[{"refresh_token":"hunter2"`) }, ErrCorrupt},
		"with grants of another type":   {func(s *corev1.Secret) { s.Data[keyGrants] = []byte(`"hunter2"`) }, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			api, store := newAPIServer(t)
			held := create(t, store)
			api.edit(t, c.edit)
			before := api.secret(t)
			_, err := store.Get(t.Context(), uid)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Get: %v", err)
			}
			if _, err := store.Update(t.Context(), held, addGrant); !errors.Is(err, c.want) {
				t.Errorf("Update: %v", err)
			}
			if _, err := store.Save(t.Context(), held, addGrant, nil); !errors.Is(err, c.want) {
				t.Errorf("Save: %v", err)
			}
			if !reflect.DeepEqual(before, api.secret(t)) {
				t.Error("it was written")
			}
			err = store.DeleteCorrupt(t.Context(), uid)
			if corrupt := errors.Is(c.want, ErrCorrupt); (err == nil) != corrupt || (!corrupt && !errors.Is(err, c.want)) {
				t.Errorf("DeleteCorrupt: %v", err)
			}
			if left := api.Get(t.Context(), client.ObjectKeyFromObject(before), before) == nil; left == errors.Is(c.want, ErrCorrupt) {
				t.Errorf("it is left: %t", left)
			}
		})
	}
}

func TestUpdateRunsAgainAfterAConflictOnWhatIsThereThen(t *testing.T) {
	api, store := newAPIServer(t)
	held := create(t, store)
	api.onUpdate = func() error {
		api.onUpdate = nil
		_, err := store.Update(t.Context(), held, func(c *Credential) error { c.Grants[0].RefreshToken = "rt-2"; return nil })
		return err
	}
	runs := 0
	got, err := store.Update(t.Context(), held, func(c *Credential) error {
		runs++
		c.Authorization.AddRequest(request("s", "b"), noon)
		return nil
	})
	if err != nil || runs != 2 || got.Grants[0].RefreshToken != "rt-2" || len(got.Authorization.Requests) != 1 {
		t.Errorf("%d runs, %v, %+v", runs, err, got)
	}
	stored, err := store.Get(t.Context(), uid)
	if err != nil || !reflect.DeepEqual(stored.Credential, got.Credential) {
		t.Errorf("stored %+v, %v", stored, err)
	}
}

func TestRefusalOfMutateWritesNothingAndKeepsItsIdentity(t *testing.T) {
	api, store := newAPIServer(t)
	held := create(t, store)
	refuse := func(c *Credential) error { c.Grants = nil; return ErrTicketGone }
	for name, write := range map[string]func(context.Context, *Held, func(*Credential) error) (*Held, error){
		"Update": store.Update,
		"Save": func(ctx context.Context, held *Held, mutate func(*Credential) error) (*Held, error) {
			return store.Save(ctx, held, mutate, nil)
		},
	} {
		if _, err := write(t.Context(), held, refuse); !errors.Is(err, ErrTicketGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if api.updates != 0 || len(held.Grants) != 1 {
		t.Errorf("%d updates, %d grants held", api.updates, len(held.Grants))
	}
}

func TestUpdateThatChangesNothingIsNoWrite(t *testing.T) {
	api, store := newAPIServer(t)
	if _, err := store.Update(t.Context(), create(t, store), func(*Credential) error { return nil }); err != nil || api.updates != 0 {
		t.Errorf("%d updates, %v", api.updates, err)
	}
}

func TestUpdateOfADeletedSecretIsNotFound(t *testing.T) {
	api, store := newAPIServer(t)
	held := create(t, store)
	api.edit(t, func(s *corev1.Secret) { s.Labels["x"] = "y" })
	fresh, err := store.Get(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), held); !apierrors.IsConflict(err) {
		t.Errorf("deleting what changed meanwhile: %v", err)
	}
	if err := store.Delete(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), fresh); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	for name, write := range map[string]func(context.Context, *Held, func(*Credential) error) (*Held, error){
		"Update": store.Update,
		"Save": func(ctx context.Context, held *Held, mutate func(*Credential) error) (*Held, error) {
			return store.Save(ctx, held, mutate, nil)
		},
	} {
		if _, err := write(t.Context(), fresh, addGrant); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
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
				api, store := newAPIServer(t)
				held := create(t, store)
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
		api, store := newAPIServer(t)
		held := create(t, store)
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

func TestEveryKeyIsReadBackAsItWasWritten(t *testing.T) {
	c := &Credential{
		Registrations: []Registration{{Issuer: "i", RedirectURI: "r", Client: mcpoauth.ClientRegistration{ClientID: "c", ClientSecret: "s"}, CreatedAt: noon, ExpiredConsents: 2}},
		Grants:        []Grant{{Binding: Binding{ServerURL: "u", Scopes: []string{"a"}, Parameters: map[string]string{"p": "v"}}, AccessToken: "at", ExpiresAt: noon, Claim: &Claim{ID: "x", Holder: "h"}, SetAside: &SetAside{Reason: "r", At: noon}}},
		Authorization: Authorization{Revision: 3, Handled: 2, Offer: offer("t"), Requests: []Request{request("s", "b")}, Response: &Response{Request: request("s2", "b"), Code: "c", ReceivedAt: noon}, Retired: []string{"x"}},
	}
	secret := &corev1.Secret{}
	if changed, err := encode(c, secret, nil); err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	if secret.Annotations[AnnotationRevision] != "3" || secret.Annotations[AnnotationHandled] != "2" || string(secret.Data[keyFormat]) != "1" {
		t.Errorf("annotations %v, format %s", secret.Annotations, secret.Data[keyFormat])
	}
	for key, raw := range secret.Data {
		if !json.Valid(raw) {
			t.Errorf("key %s is not JSON", key)
		}
	}
	got, err := decode(secret)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("read back %+v, %v", got, err)
	}
	if changed, err := encode(c, secret, secret.Data); err != nil || changed {
		t.Errorf("writing the same again: %v, %v", changed, err)
	}
}

func TestEmptySecretIsAnEmptyCredential(t *testing.T) {
	if got, err := decode(&corev1.Secret{}); err != nil || !reflect.DeepEqual(got, &Credential{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAChangeOfOneKeyLeavesTheBytesOfTheOthersAlone(t *testing.T) {
	grants := []byte(`[{"server_url":"https://mcp.example.com","a_later_member":"kept"}]`)
	secret := &corev1.Secret{Data: map[string][]byte{keyFormat: []byte("1"), keyGrants: grants}}
	c, err := decode(secret)
	if err != nil {
		t.Fatal(err)
	}
	before, err := marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Authorization.Revision++
	changed, err := encode(c, secret, before)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if string(secret.Data[keyGrants]) != string(grants) {
		t.Errorf("grants became %s", secret.Data[keyGrants])
	}
}
