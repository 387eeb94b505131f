package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// long is the longest token that is taken of an answer, of one character.
func long(character string) string { return strings.Repeat(character, 64<<10) }

func tokens(access, refresh, tokenType string) func(*Credential) error {
	return func(c *Credential) error {
		c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: "i"}, AccessToken: access, RefreshToken: refresh, TokenType: tokenType})
		return nil
	}
}

func withClientSecret(secret string) func(*Credential) error {
	return func(c *Credential) error {
		c.PutRegistration(Registration{Issuer: "i", Client: mcpoauth.ClientRegistration{ClientID: "c", ClientSecret: secret}})
		return nil
	}
}

func invalid(problem *field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), SecretName(uid), field.ErrorList{problem})
}

func TestWhatIsStoredIsBoundedAsItIsEncoded(t *testing.T) {
	for name, c := range map[string]struct {
		mutate func(*Credential) error
		fits   bool
	}{
		"three tokens of <":                              {tokens(long("<"), long("<"), long("<")), true},
		"three tokens of &":                              {tokens(long("&"), long("&"), long("&")), true},
		"a refresh token of quotes alone":                {tokens("", long(`"`), ""), true},
		"three tokens of quotes":                         {tokens(long(`"`), long(`"`), long(`"`)), false},
		"a refresh token of control characters":          {tokens("at", long("\x01"), ""), false},
		"a refresh token and type of control characters": {tokens(long("<"), long("\x01"), long("\x01")), false},
		"a client secret of 16 KiB":                      {withClientSecret(strings.Repeat("s", 16<<10)), true},
		"a client secret of control characters":          {withClientSecret(strings.Repeat("\x01", 16<<10)), false},
		"four grants with many scopes": {func(c *Credential) error {
			for i := range MaxGrants {
				c.PutGrant(Grant{Binding: Binding{ServerURL: fmt.Sprint(i), Scopes: []string{strings.Repeat("s", 256<<10)}}})
			}
			return nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			api, store := newAPIServer(t)
			held := create(t, store)
			saved, err := store.Save(t.Context(), held, c.mutate, nil)
			if !c.fits {
				if !errors.Is(err, ErrTooLarge) || api.updates != 0 {
					t.Errorf("after %d updates: %v", api.updates, err)
				}
				if _, err := store.Update(t.Context(), held, c.mutate); !errors.Is(err, ErrTooLarge) || api.updates != 0 {
					t.Errorf("Update: after %d updates: %v", api.updates, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, value := range api.secret(t).Data {
				n += len(value)
			}
			if n > maxSaved {
				t.Errorf("%d bytes are stored", n)
			}
			if again, err := store.Get(t.Context(), uid); err != nil || fmt.Sprintf("%#v", again.Grants) != fmt.Sprintf("%#v", saved.Grants) {
				t.Errorf("it is not read back: %v", err)
			}
		})
	}
}

func TestACreatedSecretIsBoundedToo(t *testing.T) {
	_, store := newAPIServer(t)
	if _, err := store.Create(t.Context(), owner, withClientSecret(long("\x01"))); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestAnAnswerLeavesRoomForTheNextClaim(t *testing.T) {
	_, store := newAPIServer(t)
	held := create(t, store)
	scopes := func(bytes int) func(*Credential) error {
		return func(c *Credential) error {
			c.Grants[0].GrantedScopes = []string{strings.Repeat("s", bytes)}
			return nil
		}
	}
	if _, err := store.Save(t.Context(), held, scopes(maxSaved), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an answer without room for a claim: %v", err)
	}
	held, err := store.Save(t.Context(), held, scopes(maxSaved-8<<10), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Update(t.Context(), held, func(c *Credential) error {
		c.Grants[0].Claim = &Claim{ID: strings.Repeat("x", 32<<10)}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsTooLargeAlreadyMayShrink(t *testing.T) {
	api, store := newAPIServer(t)
	create(t, store)
	api.edit(t, func(s *corev1.Secret) { // as an earlier version would have written it
		s.Data[keyGrants] = []byte(`[{"server_url":"https://mcp.example.com/mcp","refresh_token":"` + strings.Repeat(`\u003c`, 160<<10) + `"}]`)
	})
	held, err := store.Get(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = store.Save(t.Context(), held, func(c *Credential) error {
		c.Grants[0].RefreshToken = strings.Repeat("x", 210<<10)
		return nil
	}, nil); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("tokens that grow are saved: %v", err)
	}
	if held, err = store.Get(t.Context(), uid); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(t.Context(), held, func(c *Credential) error { c.Grants[0].RefreshToken = "rt-2"; return nil }, nil); err != nil {
		t.Error(err)
	}
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
		"422 because it is immutable": {invalid(field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")), false},
		"422 of a webhook":            {&apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid}}, false},
		"400 of a webhook":            {apierrors.NewBadRequest("denied"), false},
		"403 of a quota":              {apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("exceeded quota")), false},
		"500":                         {apierrors.NewInternalError(errors.New("etcd")), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, store := newAPIServer(t)
				held := create(t, store)
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
		api, store := newAPIServer(t)
		held := create(t, store)
		var longest time.Duration
		last := time.Now()
		api.onUpdate = func() error {
			longest, last = max(longest, time.Since(last)), time.Now()
			if api.updates < 20 {
				return apierrors.NewInternalError(errors.New("etcd"))
			}
			return nil
		}
		if _, err := store.Save(t.Context(), held, addGrant, nil); err != nil || longest > time.Minute || longest < 40*time.Second {
			t.Errorf("it waited up to %s: %v", longest, err)
		}
	})
}
