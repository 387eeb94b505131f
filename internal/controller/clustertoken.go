package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create

// clusterTokenTypes are the types of Secrets that open this cluster.
var clusterTokenTypes = []corev1.SecretType{corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken}

// isClusterToken reports whether a value is, or holds, a token of this cluster: whoever received it could act here as
// its owner. The API server is asked only about a JWT whose issuer does not tell. An opaque value never goes there:
// audit logs and webhooks would see a stranger's secret.
func (r *Reconciler) isClusterToken(ctx context.Context, value string) (bool, error) {
	for _, jwt := range mcpoauth.JWTsIn(value) {
		if mcpoauth.OfKubernetes(jwt) {
			return true, nil
		}
		issuer, own := mcpoauth.JWTIssuer(jwt), ""
		if r.ClusterIssuer != nil && issuer != "" {
			own = r.ClusterIssuer(ctx)
		}
		switch {
		case own == "":
			if opens, err := r.opensCluster(ctx, jwt); opens || err != nil {
				return opens, err
			}
		case issuer == own:
			return true, nil
		}
	}
	return false, nil
}

// opensCluster asks the API server itself whether it accepts a token.
func (r *Reconciler) opensCluster(ctx context.Context, token string) (bool, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := r.Secrets.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking whether a value is a token for this cluster: %w", err)
	}
	return review.Status.Authenticated, nil
}

// isClusterSecret reports whether a Secret is of a type that opens this cluster.
func isClusterSecret(secret *corev1.Secret) bool {
	return slices.Contains(clusterTokenTypes, secret.Type)
}

// ClusterIssuer finds out, once, who issues the tokens of this cluster's ServiceAccounts: the API server's own
// discovery document says so. The result is empty as long as that cannot be read.
func ClusterIssuer(api rest.Interface) func(context.Context) string {
	var mu sync.Mutex
	var known string
	return func(ctx context.Context) string {
		mu.Lock()
		defer mu.Unlock()
		if known != "" {
			return known
		}
		document, err := api.Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
		if err != nil {
			return ""
		}
		var metadata struct {
			Issuer string `json:"issuer"`
		}
		if json.Unmarshal(document, &metadata) == nil {
			known = metadata.Issuer
		}
		return known
	}
}
