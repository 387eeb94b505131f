package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// checkWithin bounds how long an API server may take to answer at the start.
const checkWithin = 30 * time.Second

// checkCluster comes before the manager, which tells of an API server that does not answer in many ways.
func (o *options) checkCluster(ctx context.Context, config *rest.Config, log logr.Logger) error {
	c, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("setting up the first client: %w", err)
	}
	return checkCluster(ctx, c, config.Host, o.operatorNamespace, log)
}

// checkCluster finds at the start what the operator cannot work without: the API server, the namespace of its
// credential Secrets, its kind. Its errors are one line each. What may pass by itself, such as a full quota, stops
// nothing here: connections tell of it.
func checkCluster(ctx context.Context, c client.Client, host, namespace string, log logr.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, GenerateName: program + "-check-",
		Labels: map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
			v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential},
	}}
	err := c.Create(ctx, probe, client.DryRunAll)
	var answer apierrors.APIStatus
	switch {
	case err == nil:
	case namespaceMissing(err):
		return usageError{fmt.Errorf("--operator-namespace: there is no namespace %s for the credential Secrets: kubectl "+
			"create namespace %s", namespace, namespace)}
	case errors.As(err, &answer):
		log.Info("the API server refuses to store credential Secrets now: connections that need one will say so", "namespace",
			namespace, "answer", err.Error())
	default:
		return fmt.Errorf("the API server %s cannot be reached: %w", host, err)
	}
	kind := v1alpha1.GroupVersion.WithKind("MCPConnection")
	_, err = c.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the CustomResourceDefinition mcpconnections.%s of version %s is not installed: kubectl apply "+
			"--server-side -k config/crd", kind.Group, kind.Version)
	case err != nil:
		return fmt.Errorf("asking the API server for its kinds: %w", err)
	}
	return nil
}

// namespaceMissing reports whether the API server says that the namespace does not exist.
func namespaceMissing(err error) bool {
	var answer apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &answer) {
		return false
	}
	details := answer.Status().Details
	return details != nil && details.Kind == "namespaces"
}
