package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// tearDown stops every part, in the order in which they need each other.
func (s *story) tearDown() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if s.plane != nil && s.plane.Existing {
		s.cleanupErr = errors.Join(s.cleanupErr, s.leaveCluster(ctx))
	}
	if s.operator != nil {
		s.cleanupErr = errors.Join(s.cleanupErr, s.operator.Stop())
	}
	if s.server != nil {
		s.server.Stop()
	}
	if s.auth != nil {
		s.auth.Close()
	}
	if s.plane != nil {
		s.cleanupErr = errors.Join(s.cleanupErr, s.plane.Stop())
	}
}

// leaveCluster removes from an existing cluster what this run put there, and what a person added meanwhile, while the
// operator still runs: without it nothing would be revoked, and finalizers would stay.
func (s *story) leaveCluster(ctx context.Context) error {
	var all v1alpha1.MCPConnectionList
	if err := s.plane.Client.List(ctx, &all, s.added()...); err != nil {
		return err
	}
	var errs []error
	for i := range all.Items {
		errs = append(errs, client.IgnoreNotFound(s.plane.Client.Delete(ctx, &all.Items[i])))
	}
	for i := range all.Items {
		errs = append(errs, s.plane.WaitGone(ctx, &all.Items[i], patience))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("left behind in the cluster: namespaces %s and %s: %w", s.key.Namespace, harness.OperatorNamespace,
			err)
	}
	return client.IgnoreNotFound(s.plane.Client.Delete(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.key.Namespace}}))
}

// added selects the connections that go with the demo: all of the cluster, if the kind goes too.
func (s *story) added() []client.ListOption {
	if s.plane.Installed() {
		return nil
	}
	return []client.ListOption{client.InNamespace(s.key.Namespace)}
}
