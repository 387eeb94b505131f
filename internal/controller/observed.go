package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// observed is everything that one reconcile knows. observe fills it, perform updates it, decide and report only read it.
type observed struct {
	conn *v1alpha1.MCPConnection
	// held is the credential Secret; nil if there is none yet.
	held *credential.Held
	// secret is the live Secret of the token Secret's name; nil if there is none.
	secret *corev1.Secret
	// publishedName is the token Secret's name as of the last status; empty if none was published.
	publishedName string
	// unread says why what is stored for a deleted connection could not be read; nil if it was.
	unread error
	// unusable says why the credential Secret must not be touched; nil if it may.
	unusable error
	// ownerGone says that secret names an owner that does not exist any more.
	ownerGone bool
	// client holds what client.credentialsSecretRef refers to; nil if the spec names none.
	client *referencedClient
	// references are the Secrets that the spec names and that were read, by name; without a version where there is none.
	references map[string]*corev1.Secret
	// inputs stands for their versions, once retryMended has read those that a failure may be due to.
	inputs string
	// imported is what importSecretRef refers to, where it is of use; else nil.
	imported *importedGrant
	// signingKey is the operator's own, for metadata document clients; nil if nothing stored needs it.
	signingKey *mcpoauth.SigningKey
	// discovery of this reconcile; nil before it.
	discovery *mcpoauth.Discovery
	// registered is the client that this reconcile found for discovery; nil before that.
	registered *mcpoauth.ClientRegistration
	// since is when this process began to reconcile.
	since time.Time
	// failures by step; those with a retry time ahead make decide skip the step.
	failures failures
	// handled holds annotation values acted on, to be written to status.
	handled v1alpha1.LastHandled
	// saving is an answer for this connection that cannot be saved yet; nil if there is none.
	saving *failedSave
	// kept is what the credential Secret held of that when it was read.
	kept credential.Handled
	// rediscover asks for a discovery whatever is stored.
	rediscover bool
	// externalURL of the callback server; empty if there is none.
	externalURL string
	// busy says that a step could not begin now and is to be tried again soon; waits is that step.
	busy  time.Duration
	waits step
	// notes are events of this reconcile that no condition tells.
	notes []note
}

// note is an event besides those that follow from conditions.
type note struct {
	warning bool
	reason  string
	message string
}

func (o *observed) spec() *v1alpha1.MCPConnectionSpec { return &o.conn.Spec }

func (o *observed) deleted() bool { return !o.conn.DeletionTimestamp.IsZero() }

// suspended reports whether the spec stops everything but revocation. It stops no deletion.
func (o *observed) suspended() bool { return ptr.Deref(o.conn.Spec.Suspend, false) && !o.deleted() }

// pinnedIssuer is the only issuer that the spec allows; empty if it leaves that open.
func (o *observed) pinnedIssuer() string { return discovery.PinnedIssuer(o.spec()) }

// issuer is the one whose grant counts: the spec's, else the one that the server named last; empty if no other than the
// newest grant's was ever named.
func (o *observed) issuer() string {
	if pinned := o.pinnedIssuer(); pinned != "" {
		return pinned
	}
	if named := o.named(); named != nil {
		return named.Issuer
	}
	return ""
}

func (o *observed) named() *credential.NamedIssuer {
	if c := o.credential(); c != nil {
		return c.NamedIssuer(o.conn.Spec.ServerURL)
	}
	return nil
}

// issuerChanged says whether the server does not name the issuer of the spec any more. Only an edit of the spec helps, or
// a server that names it again.
func (o *observed) issuerChanged() bool {
	named := o.named()
	return named != nil && named.Pinned != "" && named.Pinned == o.pinnedIssuer()
}

func (o *observed) credential() *credential.Credential {
	if o.held == nil {
		return nil
	}
	return o.held.Credential
}

// grant is the one for the spec's server URL and issuer; nil if there is none. That a server needed no authorization
// does not count once the spec asks for some.
func (o *observed) grant() *credential.Grant {
	c := o.credential()
	if c == nil {
		return nil
	}
	if o.issuerChanged() {
		return nil
	}
	g := c.Grant(o.conn.Spec.ServerURL, o.issuer(), grantTypeOf(o.spec()))
	if g != nil && g.Public && !discovery.MayBePublic(o.spec()) {
		return nil
	}
	return g
}

// offer is the open link, also an expired one; nil if there is none.
func (o *observed) offer() *credential.Offer {
	if c := o.credential(); c != nil {
		return c.Authorization.Offer
	}
	return nil
}

func (o *observed) outcome() *credential.Outcome {
	if c := o.credential(); c != nil {
		return c.Authorization.Outcome
	}
	return nil
}

func (o *observed) response() *credential.Response {
	if c := o.credential(); c != nil {
		return c.Authorization.Response
	}
	return nil
}

func (o *observed) redirectURI() string { return credential.RedirectURI(o.externalURL) }

// dpopJWK is the connection's key for DPoP at the server: the one in use, or a new one.
func (o *observed) dpopJWK() string {
	if g := o.grant(); g != nil && g.DPoPJWK != "" {
		return g.DPoPJWK
	}
	if offer := o.offer(); offer != nil && offer.Binding.DPoPJWK != "" && offer.Binding.ServerURL == o.conn.Spec.ServerURL {
		return offer.Binding.DPoPJWK
	}
	return string(mcpoauth.GenerateDPoPKey().JWK())
}

// tokenSecretName is the name of the Secret that workloads mount.
func tokenSecretName(conn *v1alpha1.MCPConnection) string {
	if ts := conn.Spec.TokenSecret; ts != nil && ts.Name != "" {
		return ts.Name
	}
	return conn.Name + "-token"
}

// renamed says whether the token Secret has a new name and the one of the old name is still there.
func (o *observed) renamed() bool {
	return o.publishedName != "" && o.publishedName != tokenSecretName(o.conn)
}

// bindingHash is of the parts of the spec that a consent or a token depends on.
func bindingHash(spec *v1alpha1.MCPConnectionSpec) string {
	raw, err := json.Marshal([]any{spec.ServerURL, spec.GrantType, spec.Scopes, spec.Client, spec.AuthorizationServer, spec.Compatibility,
		spec.ServiceAccountName, spec.Assertion, spec.IdentityProvider})
	if err != nil {
		panic("a spec read from the API server encodes: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

func compatibility(spec *v1alpha1.MCPConnectionSpec) v1alpha1.CompatibilitySpec {
	if spec.Compatibility == nil {
		return v1alpha1.CompatibilitySpec{}
	}
	return *spec.Compatibility
}

func clientSpec(spec *v1alpha1.MCPConnectionSpec) v1alpha1.ClientSpec {
	if spec.Client == nil {
		return v1alpha1.ClientSpec{}
	}
	return *spec.Client
}

func authorizationServer(spec *v1alpha1.MCPConnectionSpec) v1alpha1.AuthorizationServerSpec {
	if spec.AuthorizationServer == nil {
		return v1alpha1.AuthorizationServerSpec{}
	}
	return *spec.AuthorizationServer
}

// clientReplaced says whether the spec now names another client than the one of a grant or offer.
func (o *observed) clientReplaced(used *mcpoauth.ClientRegistration) bool {
	spec := clientSpec(o.spec())
	switch {
	case o.client != nil:
		return o.client.missing == "" && o.client.id != used.ClientID
	case used.Method == mcpoauth.MetadataDocument && (spec.MetadataDocumentURL != "" || o.documentReplaced(used)):
		return o.documentReplaced(used)
	case spec.Registration != "" && spec.Registration != v1alpha1.RegistrationAuto:
		return string(used.Method) != string(spec.Registration)
	}
	return used.Method == mcpoauth.Preregistered
}

// secretValue is one key of the live token Secret; empty if it is not there.
func (o *observed) secretValue(key string) string {
	if o.secret == nil {
		return ""
	}
	return strings.TrimSpace(string(o.secret.Data[key]))
}
