package doctor

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// reference is an object that the spec names.
type reference struct {
	field, resource, name string
	// once says that it is read once, and may be gone after that.
	once bool
}

func references(spec *v1alpha1.MCPConnectionSpec) []reference {
	var all []reference
	secret := func(field, name string) { all = append(all, reference{field: field, resource: "secrets", name: name}) }
	if c := spec.Client; c != nil {
		if c.CredentialsSecretRef != nil {
			secret("client.credentialsSecretRef", c.CredentialsSecretRef.Name)
		}
		if c.InitialAccessTokenSecretRef != nil {
			secret("client.initialAccessTokenSecretRef", c.InitialAccessTokenSecretRef.Name)
		}
	}
	if spec.Assertion != nil && spec.Assertion.SecretRef != nil {
		secret("assertion.secretRef", spec.Assertion.SecretRef.Name)
	}
	if spec.IdentityProvider != nil {
		secret("identityProvider.credentialsSecretRef", spec.IdentityProvider.CredentialsSecretRef.Name)
	}
	if spec.ImportSecretRef != nil {
		all = append(all, reference{field: "importSecretRef", resource: "secrets", name: spec.ImportSecretRef.Name,
			once: true})
	}
	if spec.ServiceAccountName != "" {
		all = append(all, reference{field: "serviceAccountName", resource: "serviceaccounts", name: spec.ServiceAccountName})
	}
	return all
}

// referencesFinding looks for what the spec names. Only metadata are asked for: no value of a Secret leaves the API
// server.
func referencesFinding(ctx context.Context, config *rest.Config, conn *v1alpha1.MCPConnection) Finding {
	f := Finding{Title: "What the spec names"}
	all := references(&conn.Spec)
	if len(all) == 0 {
		f.note("Nothing.")
		return f
	}
	c, err := metadata.NewForConfig(config)
	if err != nil {
		f.warn("Not looked at: %s", oneLine(err.Error()))
		return f
	}
	ready := meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady)
	for _, r := range all {
		what := fmt.Sprintf("%s %s (spec.%s)", r.resource, r.name, r.field)
		_, err := c.Resource(corev1.SchemeGroupVersion.WithResource(r.resource)).Namespace(conn.Namespace).Get(ctx, r.name,
			metav1.GetOptions{})
		switch {
		case err == nil:
			f.note("%s is there. Its keys are not read.", what)
		case apierrors.IsForbidden(err):
			f.skip("You may not see %s.", what)
		case apierrors.IsNotFound(err) && r.once && ready:
			f.note("%s is gone, as it may be: it was read once.", what)
		case apierrors.IsNotFound(err):
			f.fail("%s does not exist in namespace %s.", what, conn.Namespace)
		default:
			f.warn("%s could not be looked for: %s", what, oneLine(err.Error()))
		}
	}
	return f
}
