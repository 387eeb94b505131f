package lifecycle

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// State is everything that one reconcile knows. observe fills it, perform updates it, decide and report only read it.
type State struct {
	Conn *v1alpha1.MCPConnection
	// Held is the credential Secret; nil if there is none yet.
	Held *credential.Held
	// Secret is the live Secret of the token Secret's name; nil if there is none.
	Secret *corev1.Secret
	// PublishedName is the token Secret's name as of the last status; empty if none was published.
	PublishedName string
	// Unread says why what is stored for a deleted connection could not be read; nil if it was.
	Unread error
	// Unusable says why the credential Secret must not be touched; nil if it may.
	Unusable error
	// OwnerGone says that Secret names an owner that does not exist any more.
	OwnerGone bool
	// Client holds what client.credentialsSecretRef refers to; nil if the spec names none.
	Client *ReferencedClient
	// References are the Secrets that the spec names and that were read, by name; without a version where there is none.
	References map[string]*corev1.Secret
	// Inputs stands for their versions, once retryWithNewInputs has read those that a failure may be due to.
	Inputs string
	// Imported is what importSecretRef refers to, where it is of use; else nil.
	Imported *ImportedGrant
	// SigningKey is the operator's own, for metadata document clients; nil if nothing stored needs it.
	SigningKey *mcpoauth.SigningKey
	// Discovery of this reconcile; nil before it.
	Discovery *mcpoauth.Discovery
	// Registered is the client that this reconcile found for discovery; nil before that.
	Registered *mcpoauth.ClientRegistration
	// Since is when this process began to reconcile.
	Since time.Time
	// Failures by step; those with a retry time ahead make decide skip the step.
	Failures Failures
	// Handled holds annotation values acted on, to be written to status.
	Handled v1alpha1.LastHandled
	// Saving is an answer for this connection that cannot be saved yet; nil if there is none.
	Saving *FailedSave
	// kept is what the credential Secret held of that when it was read.
	kept credential.Handled
	// Rediscover asks for a discovery whatever is stored.
	Rediscover bool
	// ExternalURL of the callback server; empty if there is none.
	ExternalURL string
	// Busy says that a step could not begin now and is to be tried again soon; Waits is that step.
	Busy  time.Duration
	Waits Step
	// Notes are events of this reconcile that no condition tells.
	Notes []Note
}

// Spec is that of the connection.
func (s *State) Spec() *v1alpha1.MCPConnectionSpec { return &s.Conn.Spec }

// Deleted reports whether somebody has deleted the connection.
func (s *State) Deleted() bool { return !s.Conn.DeletionTimestamp.IsZero() }

// suspended reports whether the spec stops everything but revocation. It stops no deletion.
func (s *State) suspended() bool { return ptr.Deref(s.Conn.Spec.Suspend, false) && !s.Deleted() }

// PinnedIssuer is the only issuer that the spec allows; empty if it leaves that open.
func (s *State) PinnedIssuer() string { return discovery.PinnedIssuer(s.Spec()) }

// issuer is the one whose grant counts: the spec's, else the one that the server named last; empty if no other than the
// newest grant's was ever named.
func (s *State) issuer() string {
	if pinned := s.PinnedIssuer(); pinned != "" {
		return pinned
	}
	if named := s.named(); named != nil {
		return named.Issuer
	}
	return ""
}

func (s *State) named() *credential.NamedIssuer {
	if c := s.Credential(); c != nil {
		return c.NamedIssuer(s.Conn.Spec.ServerURL)
	}
	return nil
}

// IssuerChanged reports whether the server does not name the issuer of the spec any more. Only an edit of the spec
// helps, or a server that names it again.
func (s *State) IssuerChanged() bool {
	named := s.named()
	return named != nil && named.Pinned != "" && named.Pinned == s.PinnedIssuer()
}

// Credential is what is stored; nil if there is nothing yet.
func (s *State) Credential() *credential.Credential {
	if s.Held == nil {
		return nil
	}
	return s.Held.Credential
}

// Grant is the one for the spec's server URL and issuer; nil if there is none. That a server needed no authorization
// does not count once the spec asks for some.
func (s *State) Grant() *credential.Grant {
	c := s.Credential()
	if c == nil {
		return nil
	}
	if s.IssuerChanged() {
		return nil
	}
	g := c.Grant(s.Conn.Spec.ServerURL, s.issuer(), GrantTypeOf(s.Spec()))
	if g != nil && g.Public && !discovery.MayBePublic(s.Spec()) {
		return nil
	}
	return g
}

// Offer is the open link, also an expired one; nil if there is none.
func (s *State) Offer() *credential.Offer {
	if c := s.Credential(); c != nil {
		return c.Authorization.Offer
	}
	return nil
}

func (s *State) outcome() *credential.Outcome {
	if c := s.Credential(); c != nil {
		return c.Authorization.Outcome
	}
	return nil
}

// Response is an answer of the authorization server that the callback has recorded; nil if there is none.
func (s *State) Response() *credential.Response {
	if c := s.Credential(); c != nil {
		return c.Authorization.Response
	}
	return nil
}

// RedirectURI is that of the callback; empty if it has no address.
func (s *State) RedirectURI() string { return credential.RedirectURI(s.ExternalURL) }

// dpopJWK is the connection's key for DPoP at the server: the one in use, or a new one.
func (s *State) dpopJWK() string {
	if g := s.Grant(); g != nil && g.DPoPJWK != "" {
		return g.DPoPJWK
	}
	if offer := s.Offer(); offer != nil && offer.Binding.DPoPJWK != "" &&
		offer.Binding.ServerURL == s.Conn.Spec.ServerURL {
		return offer.Binding.DPoPJWK
	}
	return string(mcpoauth.GenerateDPoPKey().JWK())
}

// TokenSecretName is the name of the Secret that workloads mount.
func TokenSecretName(conn *v1alpha1.MCPConnection) string {
	if ts := conn.Spec.TokenSecret; ts != nil && ts.Name != "" {
		return ts.Name
	}
	return conn.Name + "-token"
}

// renamed reports whether the token Secret has a new name and the one of the old name is still there.
func (s *State) renamed() bool {
	return s.PublishedName != "" && s.PublishedName != TokenSecretName(s.Conn)
}

// Compatibility is spec.compatibility; empty if there is none.
func Compatibility(spec *v1alpha1.MCPConnectionSpec) v1alpha1.CompatibilitySpec {
	if spec.Compatibility == nil {
		return v1alpha1.CompatibilitySpec{}
	}
	return *spec.Compatibility
}

// ClientSpec is spec.client; empty if there is none.
func ClientSpec(spec *v1alpha1.MCPConnectionSpec) v1alpha1.ClientSpec {
	if spec.Client == nil {
		return v1alpha1.ClientSpec{}
	}
	return *spec.Client
}

// AuthorizationServer is spec.authorizationServer; empty if there is none.
func AuthorizationServer(spec *v1alpha1.MCPConnectionSpec) v1alpha1.AuthorizationServerSpec {
	if spec.AuthorizationServer == nil {
		return v1alpha1.AuthorizationServerSpec{}
	}
	return *spec.AuthorizationServer
}

// SecretValue is one key of the live token Secret; empty if it is not there.
func (s *State) SecretValue(key string) string {
	if s.Secret == nil {
		return ""
	}
	return strings.TrimSpace(string(s.Secret.Data[key]))
}

// FailedSave is an answer that could not be saved so far.
type FailedSave struct {
	Err                 error
	Tries               int32
	Since, Tried, Again time.Time
}
