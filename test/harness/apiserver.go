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

// StartAPIServer starts etcd and kube-apiserver with the operator's kinds and nothing else of it, for the specs of one
// package. The client acts as administrator; stop ends both.
func StartAPIServer(ctx context.Context) (_ client.WithWatch, stop func() error, err error) {
	assets, err := Assets(ctx)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "mcp-connection-")
	if err != nil {
		return nil, nil, err
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory: assets, CRDDirectoryPaths: []string{InRepository("config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: time.Minute,
	}
	stop = func() error { return errors.Join(env.Stop(), os.RemoveAll(dir)) }
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	if err := EndWithThisProcess(env, assets, dir); err != nil {
		return nil, nil, err
	}
	ctrllog.SetLogger(logr.Discard()) // see startNew
	config, err := env.Start()
	if err != nil {
		return nil, nil, fmt.Errorf("start the API server from %s: %w", assets, err)
	}
	config.QPS = -1 // specs must not be held back
	scheme, err := newScheme()
	if err != nil {
		return nil, nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	return c, stop, err
}
