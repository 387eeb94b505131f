package lifecycle

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/secrettemplate"
)

const (
	// annotationIssuer on a token Secret names the issuer of the token in it.
	annotationIssuer = v1alpha1.Prefix + "issuer"
	// annotationIssuedAt says when it was issued, exactly enough to tell which token it is without reading it.
	annotationIssuedAt = v1alpha1.Prefix + "issued-at"
	// annotationGrantType says how it was had; absent for AuthorizationCode.
	annotationGrantType = v1alpha1.Prefix + "grant-type"
)

// Ownership says whose a Secret is.
type Ownership int

const (
	// OwnedByUs is a Secret of the connection itself.
	OwnedByUs Ownership = iota
	// ownedByDeleted is a Secret of this operator whose connection is gone: it may be adopted.
	ownedByDeleted
	ownedByOthers
)

// OwnerOf says whose a Secret is. ownerGone is what observe found out about the owner it names. Only the operator's own
// label counts: the common one may be rewritten by whoever manages it.
func OwnerOf(secret *corev1.Secret, conn *v1alpha1.MCPConnection, ownerGone bool) Ownership {
	owner := metav1.GetControllerOf(secret)
	switch {
	case owner != nil && owner.UID == conn.UID:
		return OwnedByUs
	case secret.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeToken, secret.Type != "" &&
		secret.Type != corev1.SecretTypeOpaque:
		return ownedByOthers // nothing that the operator makes is of another type
	case owner == nil, ownerGone:
		return ownedByDeleted
	}
	return ownedByOthers
}

// publishable reports whether consumers can use a grant's token: a bearer token (RFC 6750), or one whose key they get
// (RFC 9449).
func publishable(g *credential.Grant) bool {
	return !g.Public && g.AccessToken != "" && (g.TokenType == "" || strings.EqualFold(g.TokenType, "Bearer") || isDPoP(g))
}

// isDPoP reports whether a token is bound to the connection's key. A server may issue a bearer token in spite of the
// proof (RFC 9449, section 5).
func isDPoP(g *credential.Grant) bool {
	return g.DPoPJWK != "" && strings.EqualFold(g.TokenType, "DPoP")
}

// expired reports whether a token may have expired, by the whole seconds that are published. Until ExpiresAt that is
// not certain.
func expired(g *credential.Grant, now time.Time) bool {
	return !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt.Truncate(time.Second))
}

// tokenData is what the token Secret should hold, without templates; nil if it is to be left as it is.
func (s *State) tokenData() map[string]string {
	withdrawn := map[string]string{v1alpha1.KeyServerURL: s.Conn.Spec.ServerURL}
	g := s.Grant()
	switch {
	case g == nil:
		if s.publishedElsewhere() || s.renamed() {
			return withdrawn
		}
		return nil
	case g.Public:
		return withdrawn
	case g.Revoke != "":
		if s.Secret == nil && !s.renamed() {
			return nil
		}
		return withdrawn
	case !publishable(g):
		return nil
	}
	data := map[string]string{
		v1alpha1.KeyAccessToken:   g.AccessToken,
		v1alpha1.KeyTokenType:     "Bearer",
		v1alpha1.KeyAuthorization: "Bearer " + g.AccessToken,
		v1alpha1.KeyScope:         strings.Join(g.GrantedScopes, " "),
		v1alpha1.KeyServerURL:     g.ServerURL,
		v1alpha1.KeyResource:      g.ResourceIdentifier,
	}
	if isDPoP(g) {
		data[v1alpha1.KeyTokenType], data[v1alpha1.KeyAuthorization] = "DPoP", "DPoP "+g.AccessToken
		data[v1alpha1.KeyDPoPJWK] = g.DPoPJWK
	}
	if !g.ExpiresAt.IsZero() {
		data[v1alpha1.KeyExpiresAt] = g.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return data
}

// publishedElsewhere reports whether the token Secret holds a token of another server or issuer than the current one.
func (s *State) publishedElsewhere() bool {
	if s.Secret == nil || s.SecretValue(v1alpha1.KeyAccessToken) == "" {
		return false
	}
	issuer := s.issuer()
	return s.SecretValue(v1alpha1.KeyServerURL) != s.Conn.Spec.ServerURL || s.IssuerChanged() ||
		(issuer != "" && s.Secret.Annotations[annotationIssuer] != issuer) ||
		s.Secret.Annotations[annotationGrantType] != GrantTypeOf(s.Spec())
}

// holdsToken reports whether the live token Secret holds a token for the spec's server that has not expired.
func (s *State) holdsToken(now time.Time) bool {
	if !s.ownsSecret() || s.SecretValue(v1alpha1.KeyAccessToken) == "" || s.ShowsWithdrawn() {
		return false
	}
	return s.SecretValue(v1alpha1.KeyExpiresAt) == "" || now.Before(s.secretExpiry())
}

// ShowsWithdrawn reports whether the token Secret holds a token that it must not hold any more.
func (s *State) ShowsWithdrawn() bool {
	if !s.ownsSecret() || s.SecretValue(v1alpha1.KeyAccessToken) == "" {
		return false
	}
	g := s.Grant()
	return s.publishedElsewhere() || (g != nil && g.Revoke != "")
}

// secretExpiry is when the token in the live token Secret expires; zero if it holds none, or says nothing readable.
func (s *State) secretExpiry() time.Time {
	at, err := time.Parse(time.RFC3339, s.SecretValue(v1alpha1.KeyExpiresAt))
	if err != nil || s.SecretValue(v1alpha1.KeyAccessToken) == "" || !s.ownsSecret() {
		return time.Time{}
	}
	return at
}

// ownsSecret reports whether there is a token Secret and it is this connection's.
func (s *State) ownsSecret() bool {
	return s.Secret != nil && OwnerOf(s.Secret, s.Conn, s.OwnerGone) == OwnedByUs
}

// DesiredSecret is the token Secret as it should be, made from the live one or from nothing; nil if nothing is to be
// written. The templates that cannot be rendered do not hold it back, for the token must get through.
func (s *State) DesiredSecret() (*corev1.Secret, secrettemplate.Errors) {
	data := s.tokenData()
	if data == nil {
		return nil, nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Conn.Namespace, Name: TokenSecretName(s.Conn)},
		Type: corev1.SecretTypeOpaque}
	if s.Secret != nil {
		secret = s.Secret.DeepCopy()
	}
	spec := v1alpha1.TokenSecretSpec{}
	if s.Conn.Spec.TokenSecret != nil {
		spec = *s.Conn.Spec.TokenSecret
	}
	label(secret, spec)
	managedBy := v1alpha1.ManagedBy
	if s.Secret != nil && s.Secret.Labels[v1alpha1.LabelManagedBy] != "" { // one that somebody rewrote does no harm
		managedBy = s.Secret.Labels[v1alpha1.LabelManagedBy]
	}
	secret.Labels = overlay(secret.Labels, map[string]string{v1alpha1.LabelManagedBy: managedBy,
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken})
	if g := s.Grant(); g != nil && data[v1alpha1.KeyAccessToken] != "" {
		secret.Annotations = overlay(secret.Annotations, map[string]string{annotationIssuer: g.Issuer,
			annotationIssuedAt: issuedAt(g)})
		delete(secret.Annotations, annotationGrantType)
		if g.GrantType != "" {
			secret.Annotations[annotationGrantType] = g.GrantType
		}
	}
	secret.OwnerReferences = ownersWith(secret.OwnerReferences, s.Conn)
	var rendered map[string]string
	var broken secrettemplate.Errors
	if data[v1alpha1.KeyAccessToken] != "" {
		rendered, broken = secrettemplate.Render(plainStrings(spec.Data), secrettemplate.Fields(data))
	}
	secret.Data = s.lastRendered(broken)
	for key, value := range overlay(rendered, data) {
		secret.Data[key] = []byte(value)
	}
	return secret, broken
}

// lastRendered is what the live token Secret still holds of templates that cannot be rendered any more: results of
// exactly the token that is published now.
func (s *State) lastRendered(broken secrettemplate.Errors) map[string][]byte {
	kept := map[string][]byte{}
	g := s.Grant()
	if s.Secret == nil || g == nil || !s.ownsSecret() || s.Secret.Annotations[annotationIssuedAt] != issuedAt(g) ||
		string(s.Secret.Data[v1alpha1.KeyAccessToken]) != g.AccessToken {
		return kept
	}
	for key := range broken {
		if value, held := s.Secret.Data[key]; held {
			kept[key] = value
		}
	}
	return kept
}

// ownersWith adds the connection to the owners of a Secret. Those that others named stay, but for connections that are
// gone.
func ownersWith(owners []metav1.OwnerReference, conn *v1alpha1.MCPConnection) []metav1.OwnerReference {
	ours := *metav1.NewControllerRef(conn, v1alpha1.GroupVersion.WithKind("MCPConnection"))
	kept := slices.DeleteFunc(slices.Clone(owners), func(owner metav1.OwnerReference) bool {
		return owner.UID != ours.UID && (ptr.Deref(owner.Controller, false) || owner.Kind == ours.Kind)
	})
	if slices.ContainsFunc(kept, func(owner metav1.OwnerReference) bool { return owner.UID == ours.UID }) {
		return kept
	}
	return append(kept, ours)
}

func issuedAt(g *credential.Grant) string { return g.IssuedAt.UTC().Format(time.RFC3339Nano) }

// Untouched reports whether these are the metadata of the token Secret that status tells of, and of the token and the
// spec that are observed now.
func (s *State) Untouched(m *metav1.PartialObjectMetadata) bool {
	g, t := s.Grant(), s.Conn.Status.Token
	return g != nil && publishable(g) && g.Revoke == "" && m.Annotations[annotationIssuedAt] == issuedAt(g) &&
		t != nil && t.SecretName == m.Name && t.SecretResourceVersion == m.ResourceVersion &&
		s.Conn.Status.ObservedGeneration == s.Conn.Generation
}

// AsPublished is the token Secret that publish left, without reading it.
func (s *State) AsPublished(m *metav1.PartialObjectMetadata) *corev1.Secret {
	secret, _ := s.DesiredSecret() // report tells about templates that cannot be rendered
	secret.ObjectMeta = *m.ObjectMeta.DeepCopy()
	return secret
}

// tokenSecretOutdated reports whether publish has anything to do: write the Secret, report why it cannot, or remove the
// Secret of an earlier name.
func (s *State) tokenSecretOutdated() bool {
	desired, _ := s.DesiredSecret()
	switch {
	case s.SecretTaken():
		return true
	case desired == nil:
		return false
	}
	return s.renamed() || s.Secret == nil || !SameSecret(s.Secret, desired)
}

// SameSecret reports whether two Secrets agree in all that the operator writes.
func SameSecret(a, b *corev1.Secret) bool {
	return sameLabels(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		maps.EqualFunc(a.Data, b.Data, bytes.Equal) && sameOwners(a, b)
}

// sameLabels compares labels. What the common one says is its manager's to say, as long as it is there.
func sameLabels(a, b map[string]string) bool {
	if (a[v1alpha1.LabelManagedBy] == "") != (b[v1alpha1.LabelManagedBy] == "") {
		return false
	}
	a, b = maps.Clone(a), maps.Clone(b)
	delete(a, v1alpha1.LabelManagedBy)
	delete(b, v1alpha1.LabelManagedBy)
	return maps.Equal(a, b)
}

func sameOwners(a, b *corev1.Secret) bool {
	return slices.EqualFunc(a.OwnerReferences, b.OwnerReferences,
		func(x, y metav1.OwnerReference) bool { return x.UID == y.UID })
}
