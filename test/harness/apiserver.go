package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// APIServer is etcd and kube-apiserver with the operator's kinds and nothing else of it, for the specs of one package.
type APIServer struct {
	*envtest.Environment
	// Client acts as administrator.
	Client client.WithWatch

	dir string
}

// StartAPIServer starts both, and has them end with this process.
func StartAPIServer(ctx context.Context) (_ *APIServer, err error) {
	assets, err := Assets(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mcp-connection-")
	if err != nil {
		return nil, err
	}
	a := &APIServer{dir: dir, Environment: &envtest.Environment{
		BinaryAssetsDirectory: assets, CRDDirectoryPaths: []string{InRepository("config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: time.Minute,
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop())
		}
	}()
	if err := EndWithThisProcess(a.Environment, assets, dir); err != nil {
		return nil, err
	}
	ctrllog.SetLogger(logr.Discard()) // see startNew
	config, err := a.Start()
	if err != nil {
		return nil, fmt.Errorf("start the API server from %s: %w", assets, err)
	}
	config.QPS = -1 // specs must not be held back
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	a.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return a, err
}

// Stop ends both.
func (a *APIServer) Stop() error { return errors.Join(a.Environment.Stop(), os.RemoveAll(a.dir)) }
