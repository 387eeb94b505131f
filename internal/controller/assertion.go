package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// projectedLifetime of a ServiceAccount's token, in seconds: the shortest that the API server issues.
const projectedLifetime = 600

const clusterAudience = "The audience of the assertion is that of this cluster's own API server, so it is not sent " +
	"outside. Set spec.assertion.audience to one that only the authorization server accepts."

// assertionFor is the JWT for the authorization server: the workload's own, or one that the identity provider issues
// for it.
func (r *Reconciler) assertionFor(ctx context.Context, w *work, b *credential.Binding) (string, error) {
	if w.Spec().GrantType == v1alpha1.GrantTypeTokenExchange {
		return r.identityAssertion(ctx, w, b)
	}
	audience := b.Issuer
	if a := w.Spec().Assertion; a != nil && a.Audience != "" {
		audience = a.Audience
	}
	if audience != b.Issuer && w.PinnedIssuer() != b.Issuer {
		return "", lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"spec.assertion.audience is not the authorization server that the MCP server names, so whoever that is could use "+
				"the assertion elsewhere. If it is the one that the assertion is meant for, set "+
				"spec.authorizationServer.issuer: %q", b.Issuer)}
	}
	assertion, err := r.workloadToken(ctx, w, audience, lifecycle.Destination{Endpoint: b.TokenEndpoint, Issuer: b.Issuer,
		Documented: b.Documented})
	if err != nil {
		return "", err
	}
	return assertion, checkAssertion(assertion, audience)
}

// workloadToken is a projected token of the ServiceAccount, or what the Secret holds.
func (r *Reconciler) workloadToken(ctx context.Context, w *work, audience string,
	to lifecycle.Destination) (string, error) {
	if w.Spec().ServiceAccountName != "" {
		return r.projectedToken(ctx, w, audience, to)
	}
	ref := w.Spec().Assertion.SecretRef
	missing := func(format string, args ...any) (string, error) {
		return "", lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(format, args...)}
	}
	secret, err := r.reference(ctx, w, ref.Name, "spec.assertion.secretRef")
	if err != nil {
		return "", err
	}
	if secret == nil {
		return missing("%s", absent("Secret", ref.Name, "spec.assertion.secretRef", w.Conn.Namespace,
			"create it with the key "+ref.Key))
	}
	owner := secret.Holder()
	if err := owner.Admits(to); err != nil {
		return "", err
	}
	assertion, wrong, err := r.valueOf(ctx, secret, ref.Key)
	if err != nil {
		return "", err
	}
	expiry := mcpoauth.JWTExpiry(assertion)
	switch c := w.Credential(); {
	case wrong != "":
		return missing("%s", wrong)
	case assertion == "":
		return missing("The Secret %s, named by spec.assertion.secretRef, has no key %s; add it.", ref.Name, ref.Key)
	case c != nil && c.Spent.Assertion == credential.Hash(assertion):
		return "", w.stillRefused(ref)
	case !expiry.IsZero() && !expiry.After(r.Clock.Now()):
		return missing("The assertion in the Secret %s (key %s) expired at %s; put a new one there.", ref.Name, ref.Key,
			expiry.UTC().Format(time.RFC3339))
	}
	return assertion, nil
}

// projectedToken has the API server issue a token of the ServiceAccount for one audience, if its owner allows that.
func (r *Reconciler) projectedToken(ctx context.Context, w *work, audience string,
	to lifecycle.Destination) (string, error) {
	name, namespace := w.Spec().ServiceAccountName, w.Conn.Namespace
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, name
	if err := r.Secrets.Get(ctx, client.ObjectKeyFromObject(account), account); err != nil {
		return "", r.accountError(ctx, account, err)
	}
	before := account.Annotations[v1alpha1.AnnotationAllowedAudiences]
	if !slices.Contains(lifecycle.Entries(before), audience) {
		return "", lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"The ServiceAccount %s does not allow its tokens to be sent to %s; it is looked at again within a minute. If its "+
				"owner agrees, add that to its annotation with `kubectl -n %s annotate serviceaccount %s --overwrite %s`",
			name, audience, namespace, name, lifecycle.Quoted(v1alpha1.AnnotationAllowedAudiences+"="+
				lifecycle.Appended(before, audience)))}
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: ptr.To(int64(projectedLifetime)),
	}}
	if err := r.Secrets.SubResource("token").Create(ctx, account, request); err != nil {
		return "", r.accountError(ctx, account, err)
	}
	opens := mcpoauth.JWTIssuer(request.Status.Token) == audience
	if !opens {
		var err error
		if opens, err = r.opensCluster(ctx, request.Status.Token); err != nil {
			return "", err
		}
	}
	if opens {
		return "", lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: clusterAudience}
	}
	owner := lifecycle.Holder{
		Kind: "serviceaccount", Namespace: namespace, Name: name, Field: "spec.serviceAccountName",
		Issuer: audience, Allowed: account.Annotations[v1alpha1.AnnotationAllowedEndpoints],
	}
	return request.Status.Token, owner.Admits(to)
}

// accountError turns what the owner of the namespace can mend into a sentence.
func (r *Reconciler) accountError(ctx context.Context, account *corev1.ServiceAccount, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: absent("ServiceAccount", account.Name,
			"spec.serviceAccountName", account.Namespace, "create it")}
	case apierrors.IsForbidden(err):
		return lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: r.roleFor(ctx, account)}
	}
	return fmt.Errorf("asking for a token of the ServiceAccount %s: %w", account.Name, err)
}

// roleFor is the exact Role that lets this operator ask for tokens of one ServiceAccount, and of no other.
func (r *Reconciler) roleFor(ctx context.Context, account *corev1.ServiceAccount) string {
	subject := "{kind: User, apiGroup: rbac.authorization.k8s.io, name: <the operator's user>}"
	review := &authenticationv1.SelfSubjectReview{}
	if err := r.Secrets.Create(ctx, review); err == nil {
		user := review.Status.UserInfo.Username
		subject = fmt.Sprintf("{kind: User, apiGroup: rbac.authorization.k8s.io, name: %q}", user)
		if namespace, name, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":"); ok &&
			strings.HasPrefix(user, "system:serviceaccount:") {
			subject = fmt.Sprintf("{kind: ServiceAccount, namespace: %s, name: %s}", namespace, name)
		}
	}
	return fmt.Sprintf(`The operator may not ask for tokens of the ServiceAccount %[1]s; it is looked at again within a minute. Apply this:
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: %[2]s, name: mcp-connection-%[1]s}
rules:
- {apiGroups: [""], resources: [serviceaccounts], resourceNames: [%[1]s], verbs: [get]}
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [%[1]s], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: %[2]s, name: mcp-connection-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: mcp-connection-%[1]s}
subjects:
- %[3]s`, account.Name, account.Namespace, subject)
}

// checkAssertion reports whether a JWT is for its receiver and for nobody else, who could use it elsewhere.
func checkAssertion(assertion, audience string) error {
	audiences, err := mcpoauth.AssertionAudience(assertion)
	switch {
	case err != nil:
		return err
	case !slices.Contains(audiences, audience):
		return lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"The assertion is not for %s: its audience does not say so. Have it issued for that audience, or set "+
				"spec.assertion.audience to the one that the authorization server expects.", audience)}
	case len(audiences) > 1:
		return lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: fmt.Sprintf(
			"The assertion is for %d audiences, so whoever receives it could use it at another. Have it issued for %s alone.",
			len(audiences), audience)}
	}
	return nil
}

// stillRefused says that the Secret holds what was refused before: one attempt is made for each assertion.
func (w *work) stillRefused(ref *v1alpha1.SecretKeyReference) lifecycle.Unmet {
	u := lifecycle.Unmet{Reason: v1alpha1.ReasonTokenRequestRejected, Message: fmt.Sprintf(
		"What the Secret %s holds (key %s) was refused, and is not sent again; put a new assertion there.", ref.Name,
		ref.Key)}
	if f := w.Failures.Find(lifecycle.StepRequestToken); f != nil && f.Reason == u.Reason {
		u.Message = f.Message // which says more
	}
	return u
}
