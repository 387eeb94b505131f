package main

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// servedConnections says that there are no connections in namespaces that are not watched. The cache itself answers
// with an error that looks like an outage.
type servedConnections struct {
	client.Reader
	// namespaces that are watched; empty: all.
	namespaces []string
}

// Get reads one connection.
func (s servedConnections) Get(ctx context.Context, key client.ObjectKey, object client.Object,
	options ...client.GetOption) error {
	if len(s.namespaces) > 0 && !slices.Contains(s.namespaces, key.Namespace) {
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("mcpconnections").GroupResource(), key.Name)
	}
	return s.Reader.Get(ctx, key, object, options...)
}
