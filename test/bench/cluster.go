package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// cluster is a fresh API server with its audit log.
type cluster struct {
	*harness.ControlPlane
	// api acts as administrator, without a limit of its own.
	api   client.WithWatch
	audit *auditLog
	// pids of etcd and the API server.
	pids map[string]int
}

func startCluster(ctx context.Context, s settings) (_ *cluster, err error) {
	c := &cluster{pids: map[string]int{}}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if c.ControlPlane, err = harness.StartControlPlane(ctx,
		harness.ControlPlaneOptions{Audit: true, Logf: harness.Stderr}); err != nil {
		return nil, err
	}
	c.audit = &auditLog{file: c.AuditLog}
	for _, name := range []string{processAPIServer, processEtcd} {
		if c.pids[name], err = child(name); err != nil {
			return nil, err
		}
	}
	if c.api, err = client.NewWithWatch(unlimited(c.Config), client.Options{Scheme: c.Client.Scheme()}); err != nil {
		return nil, err
	}
	for i := range s.namespaces {
		if err := c.Namespace(ctx, s.namespace(i)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) stop() {
	if c.ControlPlane != nil {
		if err := c.Stop(); err != nil {
			harness.Stderr("stopping the control plane: %v", err)
		}
	}
}

// unlimited is a configuration whose client never waits.
func unlimited(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	return config
}

// namespace of a connection.
func (s settings) namespace(i int) string { return fmt.Sprintf("bench-%d", i%s.namespaces) }

// connection is the object that a user would create. Its tokens are refreshed one minute before they expire, so that
// the authorization server chooses the time of every refresh.
func (s settings) connection(i int, serverURL string) *v1alpha1.MCPConnection {
	return &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace(i), Name: connectionName(i)},
		Spec: v1alpha1.MCPConnectionSpec{
			ServerURL: serverURL,
			Refresh:   &v1alpha1.RefreshSpec{Before: &metav1.Duration{Duration: refreshLead}},
		},
	}
}

func connectionName(i int) string { return fmt.Sprintf("c%06d", i) }

// numberOf reads the number of a connection off its name.
func numberOf(name string) (int, error) {
	var i int
	_, err := fmt.Sscanf(name, "c%d", &i)
	return i, err
}
