package harness

import (
	"errors"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// AttachControlPlane speaks to a control plane that another process started with StartControlPlane.
// It starts and installs nothing, so there is nothing to stop.
func AttachControlPlane(kubeconfig string, logf Logf) (*ControlPlane, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // polling must not be held back
	if logf == nil {
		logf = Silent
	}
	c := &ControlPlane{Config: config, Kubeconfig: kubeconfig, Existing: true, logf: logf}
	c.Client, err = newClient(config)
	return c, err
}

// newClient knows the kinds of newScheme.
func newClient(config *rest.Config) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// newScheme knows Kubernetes' own kinds and MCPConnection.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}
