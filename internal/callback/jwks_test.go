package callback

import (
	"errors"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/internal/credential"
)

const (
	keyLifetime  = 90 * 24 * time.Hour
	keyPublished = 24 * time.Hour
)

var _ = Describe("The operator's public keys", func() {
	It("are served once there are some", Label("security"), func() {
		f := newFixture()
		expect(f, f.browser().get(jwksPath), http.StatusNotFound)
		id := f.sign()
		f.now = f.now.Add(jwksLookAgain)
		w := f.browser().get(jwksPath)
		expect(f, w, http.StatusOK, id)
		Expect(w.Header().Get("Content-Type")).To(Equal("application/json"))
		Expect(w.Header().Get("Cache-Control")).To(Equal("public, max-age=300"))
		Expect(w.Body.String()).NotTo(Or(ContainSubstring("PRIVATE"), ContainSubstring(`"d":`)), "a private key is served")
		expect(f, f.browser().do(http.MethodPost, jwksPath, ""), http.StatusMethodNotAllowed)
	})

	It("hold a new one within a minute", func() {
		f := newFixture()
		first := f.sign()
		Expect(f.keys()).To(Equal(first))
		f.now = f.now.Add(keyLifetime - keyPublished - time.Second)
		f.keys()
		f.now = f.now.Add(time.Second)
		Expect(f.sign()).To(Equal(first), "the next key signs before it was published")
		f.now = f.now.Add(jwksFreshFor)
		Expect(f.keys()).To(HavePrefix(first + " "))
	})

	It("cost strangers a few reads only", Label("security"), func() {
		f := newFixture()
		reads := func(n int) int64 {
			before := f.reads.Load()
			for range n {
				f.browser().get(jwksPath)
			}
			return f.reads.Load() - before
		}
		Expect(reads(50)).To(BeEquivalentTo(1), "while there is no key")
		f.sign()
		f.now = f.now.Add(jwksLookAgain)
		Expect(reads(50)).To(BeEquivalentTo(1), "with a key")
	})

	It("are those read last during an outage of the API server", func() {
		f := newFixture()
		id := f.sign()
		f.keys()
		f.onRead = func() error { return errors.New("no answer") }
		f.now = f.now.Add(time.Hour)
		Expect(f.keys()).To(Equal(id))
		fresh := newFixture()
		fresh.onRead = f.onRead
		expect(fresh, fresh.browser().get(jwksPath), http.StatusServiceUnavailable)
	})

	It("are not those of a Secret of somebody else", Label("security"), func() {
		f := newFixture()
		f.sign()
		secret := f.secret()
		secret.Name, secret.Labels, secret.ResourceVersion, secret.UID = credential.SigningKeySecret, nil, "", ""
		f.must(f.client.Delete(f.Context(), secret.DeepCopy()))
		f.must(f.client.Create(f.Context(), secret))
		expect(f, f.browser().get(jwksPath), http.StatusNotFound)
	})
})
