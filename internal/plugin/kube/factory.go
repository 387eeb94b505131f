// Package kube is what every verb of the kubectl plugin begins with: flags that all of kubectl's commands know,
// streams, a clock, a client of the cluster, and the exit codes.
package kube

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// FieldManager of all that the plugin writes. Flux takes back what managers whose names begin with kubectl have set.
const FieldManager = "mcpc"

// requestTimeout ends a request that nobody answers, where --request-timeout says nothing.
const requestTimeout = 30 * time.Second

// Factory gives a verb its cluster, its streams and its clock.
type Factory struct {
	genericiooptions.IOStreams
	// Flags of kubectl that choose the cluster, the user and the namespace.
	Flags *genericclioptions.ConfigFlags
	// Clock of waiting and of relative times.
	Clock clock.Clock
	// Version of the plugin.
	Version string
	// Terminal, if not nil, is what all streams are taken for.
	Terminal *Terminal
}

// NewFactory returns a Factory on the kubeconfig that kubectl would take.
func NewFactory(streams genericiooptions.IOStreams) *Factory {
	return &Factory{IOStreams: streams, Flags: genericclioptions.NewConfigFlags(true), Clock: clock.RealClock{},
		Version: "dev"}
}

// AddFlags adds kubectl's flags for the cluster, the user and the namespace.
func (f *Factory) AddFlags(flags *pflag.FlagSet) { f.Flags.AddFlags(flags) }

// Now is the time of the Factory's clock.
func (f *Factory) Now() time.Time { return f.Clock.Now() }

// Namespace is that of --namespace, else that of the context. The error says what is wrong with the kubeconfig.
func (f *Factory) Namespace() (string, error) {
	namespace, _, err := f.Flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", Explain(err)
	}
	return namespace, nil
}

// RESTConfig of the cluster. The error says what is wrong with the kubeconfig.
func (f *Factory) RESTConfig() (*rest.Config, error) {
	config, err := f.Flags.ToRESTConfig()
	if err != nil {
		return nil, Explain(err)
	}
	config.UserAgent = "kubectl-mcpc/" + f.Version
	// Warnings of the API server are for whoever writes manifests, and would tear a screen that is drawn again.
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// Scheme knows connections and Kubernetes' core kinds.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	return scheme
}

// mapper knows the paths of the kinds that the plugin reads, so that nothing need be asked of the API server for them.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1alpha1.GroupVersion.WithKind("MCPConnection"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	for _, kind := range []string{"Event", "Pod", "Secret", "Service"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	return m
}

// Client of the cluster. Whoever writes with it does so as FieldManager.
func (f *Factory) Client() (client.Client, error) {
	config, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	c, err := client.New(config, client.Options{Scheme: Scheme(), Mapper: mapper()})
	if err != nil {
		return nil, Explain(err)
	}
	return c, nil
}

// Connection reads one connection of the namespace that the flags name, by the client that is also returned. The error
// is one for a person.
func (f *Factory) Connection(ctx context.Context, name string) (client.Client, *v1alpha1.MCPConnection, error) {
	c, err := f.Client()
	if err != nil {
		return nil, nil, err
	}
	namespace, err := f.Namespace()
	if err != nil {
		return nil, nil, err
	}
	connection := &v1alpha1.MCPConnection{}
	err = c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, connection)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, nil, Ended(ctx)
	case err != nil:
		return nil, nil, Explain(fmt.Errorf("read MCPConnection %s/%s: %w", namespace, name, err))
	}
	return c, connection, nil
}
