package credential

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/specs"
)

// patience bounds every single wait.
const patience = time.Minute

// cluster is a client of the API server that all specs share.
var cluster client.WithWatch

func TestSpecs(t *testing.T) { specs.Run(t, "credential") }

var _ = BeforeSuite(func(ctx SpecContext) {
	server, err := harness.StartAPIServer(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	cluster = server.Client
})

var owner = Connection{UID: uid, Namespace: "team-a", Name: "files"}

// apiServer is a namespace of an API server whose updates can fail. Updates that are made through it are counted.
type apiServer struct {
	client.WithWatch
	namespace string
	onUpdate  func() error
	updates   int
}

// serve puts a store in front of an API server.
func serve(c client.WithWatch, namespace string) (*apiServer, *Store) {
	s := &apiServer{namespace: namespace}
	s.WithWatch = interceptor.NewClient(c, interceptor.Funcs{
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

// newAPIServer is an empty namespace of the real API server.
func newAPIServer(ctx context.Context) (*apiServer, *Store) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "operator-"}}
	Expect(cluster.Create(ctx, namespace)).To(Succeed())
	return serve(cluster, namespace.Name)
}

// read reads a Secret of the namespace.
func (s *apiServer) read(ctx context.Context, name string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(s.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: name}, secret)).To(Succeed())
	return secret
}

// secret reads the credential Secret.
func (s *apiServer) secret(ctx context.Context) *corev1.Secret {
	GinkgoHelper()
	return s.read(ctx, SecretName(uid))
}

// edit changes a Secret as somebody else does.
func (s *apiServer) edit(ctx context.Context, name string, f func(*corev1.Secret)) {
	GinkgoHelper()
	secret := s.read(ctx, name)
	f(secret)
	Expect(cluster.Update(ctx, secret)).To(Succeed())
}

// create makes the credential Secret of owner, with a grant and an offer.
func create(ctx context.Context, s *Store) *Held {
	GinkgoHelper()
	held, err := s.Create(ctx, owner, first)
	Expect(err).NotTo(HaveOccurred())
	return held
}

func first(c *Credential) error {
	c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp"}, RefreshToken: "rt-1", Generation: 1})
	c.Authorization.Offer = offer("t")
	return nil
}

func addGrant(c *Credential) error {
	c.PutGrant(Grant{Binding: Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: "i"}})
	return nil
}

// write is Update or Save.
type write func(context.Context, *Held, func(*Credential) error) (*Held, error)

// writesOf are the reconciler's ways to change a credential. Save gives up after a while.
func writesOf(s *Store) map[string]write {
	return map[string]write{
		"Update": s.Update,
		"Save": func(ctx context.Context, held *Held, mutate func(*Credential) error) (*Held, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return s.Save(ctx, held, mutate, nil)
		},
	}
}
