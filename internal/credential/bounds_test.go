package credential

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// long is the longest token that is taken of an answer, of one character.
func long(character string) string { return strings.Repeat(character, 64<<10) }

func tokens(access, refresh, tokenType string) func(*Credential) error {
	return func(c *Credential) error {
		c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: "i"}, AccessToken: access,
			RefreshToken: refresh, TokenType: tokenType})
		return nil
	}
}

func withClientSecret(secret string) func(*Credential) error {
	return func(c *Credential) error {
		c.PutRegistration(Registration{Issuer: "i", Client: mcpoauth.ClientRegistration{ClientID: "c", ClientSecret: secret}})
		return nil
	}
}

func grantsWithManyScopes(c *Credential) error {
	for i := range MaxGrants {
		c.PutGrant(Grant{Binding: Binding{ServerURL: fmt.Sprint(i), Scopes: []string{strings.Repeat("s", 256<<10)}}})
	}
	return nil
}

var _ = Describe("What is stored of a connection", func() {
	var (
		api   *apiServer
		store *Store
		held  *Held
	)
	BeforeEach(func(ctx SpecContext) {
		api, store = newAPIServer(ctx)
		held = create(ctx, store)
	})

	Context("is bounded as it is encoded:", func() {
		DescribeTable("it may hold", func(ctx SpecContext, mutate func(*Credential) error) {
			saved, err := store.Save(ctx, held, mutate, nil)
			Expect(err).NotTo(HaveOccurred())
			n := 0
			for _, value := range api.secret(ctx).Data {
				n += len(value)
			}
			Expect(n).To(BeNumerically("<=", maxSaved))
			again, err := store.Get(ctx, uid)
			Expect(err).NotTo(HaveOccurred())
			Expect(again.Grants).To(Equal(saved.Grants))
		},
			Entry("three tokens of <", tokens(long("<"), long("<"), long("<"))),
			Entry("three tokens of &", tokens(long("&"), long("&"), long("&"))),
			Entry("a refresh token of quotes alone", tokens("", long(`"`), "")),
			Entry("a client secret of 16 KiB", withClientSecret(strings.Repeat("s", 16<<10))),
		)

		DescribeTable("it may not hold", func(ctx SpecContext, mutate func(*Credential) error) {
			for name, write := range writesOf(store) {
				_, err := write(ctx, held, mutate)
				Expect(err).To(MatchError(ErrTooLarge), name)
			}
			Expect(api.updates).To(BeZero())
		},
			Entry("three tokens of quotes", tokens(long(`"`), long(`"`), long(`"`))),
			Entry("a refresh token of control characters", tokens("at", long("\x01"), "")),
			Entry("a refresh token and type of control characters", tokens(long("<"), long("\x01"), long("\x01"))),
			Entry("a client secret of control characters", withClientSecret(strings.Repeat("\x01", 16<<10))),
			Entry("four grants with many scopes", grantsWithManyScopes),
		)
	})

	It("is bounded when it is created", func(ctx SpecContext) {
		_, store := newAPIServer(ctx)
		_, err := store.Create(ctx, owner, withClientSecret(long("\x01")))
		Expect(err).To(MatchError(ErrTooLarge))
	})

	It("leaves room for the next claim", func(ctx SpecContext) {
		scopes := func(bytes int) func(*Credential) error {
			return func(c *Credential) error {
				c.Grants[0].GrantedScopes = []string{strings.Repeat("s", bytes)}
				return nil
			}
		}
		_, err := store.Save(ctx, held, scopes(maxSaved), nil)
		Expect(err).To(MatchError(ErrTooLarge), "an answer without room for a claim")
		held, err := store.Save(ctx, held, scopes(maxSaved-8<<10), nil)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.Update(ctx, held, func(c *Credential) error {
			c.Grants[0].Claim = &Claim{ID: strings.Repeat("x", 32<<10)}
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
	})

	It("may shrink if it is too large already", func(ctx SpecContext) {
		api.edit(ctx, SecretName(uid), func(s *corev1.Secret) { // as an earlier version would have written it
			s.Data[keyGrants] = []byte(`[{"server_url":"https://mcp.example.com/mcp","refresh_token":"` +
				strings.Repeat(`\u003c`, 160<<10) + `"}]`)
		})
		held, err := store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.Save(ctx, held, func(c *Credential) error {
			c.Grants[0].RefreshToken = strings.Repeat("x", 210<<10)
			return nil
		}, nil)
		Expect(err).To(MatchError(ErrTooLarge), "tokens that grow")
		held, err = store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		held, err = store.Save(ctx, held, func(c *Credential) error { c.Authorization.Withdraw(); return nil }, nil)
		Expect(err).NotTo(HaveOccurred(), "what shrinks and is still too large")
		_, err = store.Save(ctx, held, func(c *Credential) error { c.Grants[0].RefreshToken = "rt-2"; return nil }, nil)
		Expect(err).NotTo(HaveOccurred())
	})
})
