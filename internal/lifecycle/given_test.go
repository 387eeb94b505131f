package lifecycle

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// What the tests of pure functions are given. A token lives from epoch for an hour and is refreshed after forty
// minutes.
const (
	givenUID      = "0b0e7c7e-0000-4000-8000-000000000001"
	givenServer   = "https://mcp.example.com/mcp"
	givenIssuer   = "https://login.example.com"
	givenExternal = "https://connect.example.com"
	givenTicket   = "0b0e7c7e0000400080000000000000010000ticket"
	otherIssuer   = "https://new.example.com"
	givenToken    = "the-access-token"
	givenLifetime = time.Hour
	givenRefresh  = 40 * time.Minute
)

// givenChallenge demands one scope more than granted gives.
const givenChallenge = `Bearer error="insufficient_scope", scope="files:write", resource_metadata="https://mcp.example.com/m"`

// givenKey binds tokens.
var givenKey = string(mcpoauth.GenerateDPoPKey().JWK())

// nonInteractive asks for no person, and for this JWT bearer grant.
func nonInteractive(o *State) {
	o.Conn.Spec.GrantType, o.Conn.Spec.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "agent"
}

// requestedToken stores a token that was had without a person.
func requestedToken(changes ...func(*credential.Grant)) func(*State) {
	return func(o *State) {
		granted(append([]func(*credential.Grant){func(g *credential.Grant) {
			g.GrantType, g.SpecHash, g.RefreshToken = GrantTypeOf(o.Spec()), BindingHash(o.Spec()), ""
			g.Client = mcpoauth.ClientRegistration{AuthMethod: mcpoauth.AuthMethodNone}
		}}, changes...)...)(o)
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// given is a new connection that the finalizer is on, changed one after the other.
func given(changes ...func(*State)) *State {
	conn := &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "files", UID: givenUID, Generation: 1,
			Finalizers: []string{v1alpha1.Finalizer}, Annotations: map[string]string{}},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: givenServer},
	}
	o := &State{Conn: conn, ExternalURL: givenExternal, Held: &credential.Held{Credential: &credential.Credential{}}}
	for _, change := range changes {
		change(o)
	}
	return o
}

// all makes several changes one.
func all(changes ...func(*State)) func(*State) {
	return func(o *State) {
		for _, change := range changes {
			change(o)
		}
	}
}

func (o *State) stored() *credential.Credential {
	if o.Held == nil {
		o.Held = &credential.Held{Credential: &credential.Credential{}}
	}
	return o.Held.Credential
}

func givenBinding(serverURL string) credential.Binding {
	return credential.Binding{
		ServerURL: serverURL, Issuer: givenIssuer, AuthorizationEndpoint: givenIssuer + "/authorize",
		TokenEndpoint: givenIssuer + "/token",
		Client: mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-1",
			AuthMethod: mcpoauth.AuthMethodNone},
		RedirectURI: credential.RedirectURI(givenExternal), ResourceIdentifier: serverURL, Resource: serverURL,
	}
}

// granted stores a grant with a refresh token.
func granted(changes ...func(*credential.Grant)) func(*State) {
	return func(o *State) {
		g := credential.Grant{
			Binding: givenBinding(o.Conn.Spec.ServerURL), AccessToken: givenToken, TokenType: "bearer",
			RefreshToken:  "the-refresh-token",
			GrantedScopes: []string{"files:read"}, Probe: givenProbe(), IssuedAt: epoch, ExpiresAt: epoch.Add(givenLifetime),
			RefreshAt: epoch.Add(givenRefresh),
		}
		for _, change := range changes {
			change(&g)
		}
		o.stored().PutGrant(g)
	}
}

// givenProbe is the result of one that succeeded.
func givenProbe() *credential.Probe {
	return &credential.Probe{Name: "files", Version: "1.2.3", ProtocolVersion: "2025-11-25", Tools: 7, At: epoch}
}

// unprobed is a grant whose token was not tried yet.
func unprobed(g *credential.Grant) { g.Probe = nil }

// probeRefused is a grant whose token the server did not want.
func probeRefused(reason string, wants credential.Want) func(*credential.Grant) {
	return func(g *credential.Grant) {
		g.Probe.Reason, g.Probe.Message, g.Probe.Token, g.Probe.Wants = reason, "The server refuses the token.", tokenID(g),
			wants
	}
}

// probes has the spec ask for probes at an interval, the last of which was at epoch.
func probes(interval time.Duration) func(*State) {
	return func(o *State) {
		specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: interval}}
		})(o)
		o.stored().ProbedAt = epoch
	}
}

// published makes the token Secret what it should be.
func published(o *State) {
	desired, _ := o.DesiredSecret()
	if desired == nil {
		return
	}
	desired.UID, desired.ResourceVersion = "secret", "7"
	o.Secret, o.PublishedName = desired, desired.Name
}

// offered opens a link that fits the spec.
func offered(changes ...func(*credential.Offer)) func(*State) {
	return func(o *State) {
		offer := credential.Offer{Ticket: givenTicket, ExpiresAt: epoch.Add(credential.TicketLifetime),
			SpecHash: BindingHash(o.Spec()), Binding: givenBinding(o.Conn.Spec.ServerURL)}
		for _, change := range changes {
			change(&offer)
		}
		o.stored().Authorization.Offer = &offer
	}
}

// answered records an authorization response with a code.
func answered(o *State) {
	a := &o.stored().Authorization
	a.Revision++
	a.Response = &credential.Response{Request: credential.Request{State: "state", Ticket: givenTicket,
		Binding: givenBinding(o.Conn.Spec.ServerURL)}, Code: "code", ReceivedAt: epoch}
}

// concluded records the outcome of a consent that led to nothing.
func concluded(reason string) func(*State) {
	return func(o *State) {
		o.stored().Authorization.Outcome = &credential.Outcome{State: "state", Ticket: givenTicket, Reason: reason,
			Message: "the server said no", At: epoch}
	}
}

// failing has a step fail at epoch; it is tried again after wait, or never if that is zero.
func failing(s Step, reason string, wait time.Duration) func(*State) {
	return func(o *State) {
		o.RecordFailure(s, reason, "the step "+string(s)+" failed", epoch, func(int32) time.Time {
			if wait == 0 {
				return time.Time{}
			}
			return epoch.Add(wait)
		})
	}
}

func annotated(name, value string) func(*State) {
	return func(o *State) { o.Conn.Annotations[name] = value }
}

// specified edits the spec, which is another generation.
func specified(change func(*v1alpha1.MCPConnectionSpec)) func(*State) {
	return func(o *State) {
		change(&o.Conn.Spec)
		o.Conn.Generation++
	}
}

func isSuspended(o *State) {
	o.Conn.Spec.Suspend = ptr.To(true)
	o.Conn.Generation++
}

// orphans has a deletion leave everything at the servers as it is.
func orphans(o *State) {
	specified(func(s *v1alpha1.MCPConnectionSpec) { s.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })(o)
}

// stripped is without the operator's finalizer.
func stripped(o *State) { o.Conn.Finalizers = []string{"example.com/other"} }

func isDeleted(o *State) { o.Conn.DeletionTimestamp = &metav1.Time{Time: epoch} }

func isForeign(o *State) {
	o.Secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: TokenSecretName(o.Conn),
		ResourceVersion: "3"}, Data: map[string][]byte{"mine": []byte("x")}}
}

func foundServer(o *State) {
	o.Discovery = &mcpoauth.Discovery{AuthorizationRequired: true, Resource: givenServer,
		AuthorizationServer: mcpoauth.AuthorizationServerMetadata{
			Issuer: givenIssuer, AuthorizationEndpoint: givenIssuer + "/authorize", TokenEndpoint: givenIssuer + "/token"}}
}

func foundClient(o *State) {
	o.Registered = &mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "client-1"}
}

func withoutRefreshToken(g *credential.Grant) { g.RefreshToken, g.RefreshAt = "", time.Time{} }

func withoutExpiry(g *credential.Grant) { g.ExpiresAt = time.Time{} }

func isPublic(g *credential.Grant) {
	*g = credential.Grant{Public: true, IssuedAt: epoch, Probe: g.Probe,
		Binding: credential.Binding{ServerURL: g.ServerURL}}
}

func isSetAside(g *credential.Grant) {
	g.SetAside = &credential.SetAside{Reason: v1alpha1.ReasonRefreshRejected,
		Message: "The authorization server ended the grant. " + openLink, At: epoch, Tried: true}
}

// justEnded is a grant that was set aside and whose token was not tried since.
func justEnded(g *credential.Grant) {
	isSetAside(g)
	g.SetAside.Tried = false
}

// refusedBefore is a grant whose consent was given after the server had refused another token.
func refusedBefore(g *credential.Grant) { g.RefusedBefore = true }

func isOf(tokenType string) func(*credential.Grant) {
	return func(g *credential.Grant) { g.TokenType = tokenType }
}

func unknownOutcomes(n int) func(*credential.Grant) {
	return func(g *credential.Grant) { g.UnknownOutcomes = n }
}

// isClaimed has a process that is gone have claimed the refresh token.
func isClaimed(g *credential.Grant) { g.Claim = &credential.Claim{ID: "left", Holder: "gone"} }

// secretExpires has the client's secret expire at a time; it is updated, or replaced, at another.
func secretExpires(update, expiry time.Duration) func(*credential.Grant) {
	return func(g *credential.Grant) {
		g.Client.AuthMethod, g.Client.ClientSecret = mcpoauth.AuthMethodClientSecretBasic, "the-client-secret"
		g.Client.SecretExpiresAt, g.Client.UpdateAt = epoch.Add(expiry), epoch.Add(update)
	}
}

// isManaged lets the client be updated and deleted at its server.
func isManaged(g *credential.Grant) {
	g.Client.RegistrationClientURI, g.Client.RegistrationAccessToken = givenIssuer+"/register/client-1",
		"the-registration-token"
}

func updateRefused(g *credential.Grant) { g.Client.UpdateRefused = true }

// retired remembers a registration that another took the place of.
func retired(clientID string) func(*State) {
	return func(o *State) {
		o.stored().Retired = []credential.Registration{{Issuer: givenIssuer, Client: mcpoauth.ClientRegistration{
			Method: mcpoauth.Dynamic, ClientID: clientID, RegistrationClientURI: givenIssuer + "/register/" + clientID,
			RegistrationAccessToken: "t"}}}
	}
}

func toBeRevoked(g *credential.Grant) { g.Revoke = "leak" }

// reported is the connection as it is once the status of o is written.
func reported(now time.Time, o *State) *v1alpha1.MCPConnection {
	conn := o.Conn.DeepCopy()
	conn.Status = Report(now, o)
	return conn
}

// cachedOf is what caches know of the two Secrets of o.
func cachedOf(o *State) *Cached {
	seen := &Cached{Held: *credential.SecretMetadata(), Token: *credential.SecretMetadata()}
	if o.Secret != nil {
		seen.Token.ObjectMeta = *o.Secret.ObjectMeta.DeepCopy()
	}
	if c := o.Credential(); c != nil {
		seen.Held.Annotations = map[string]string{
			credential.AnnotationRevision: strconv.FormatInt(c.Authorization.Revision, 10),
			credential.AnnotationHandled:  strconv.FormatInt(c.Authorization.Handled, 10),
			credential.AnnotationWrites:   strconv.FormatInt(c.Writes, 10),
		}
	}
	seen.Basis = BasisOf(o.Conn, o.ExternalURL, &seen.Token, credential.StampOf(&seen.Held))
	return seen
}

// expectedFirst is ExpectedCall at the urgency that caches tell.
func expectedFirst(now time.Time, conn *v1alpha1.MCPConnection, seen *Cached) string {
	return ExpectedCall(now, conn, seen, ExpectedUrgency(now, conn, &seen.Held))
}

// pause is how long it takes until schedule looks again; 0 if it does not.
func pause(now time.Time, o *State) time.Duration {
	if at := Schedule(now, o); !at.IsZero() {
		return at.Sub(now)
	}
	return 0
}

const (
	ready      = v1alpha1.ConditionReady
	discovered = v1alpha1.ConditionDiscovered
	registered = v1alpha1.ConditionRegistered
	authorized = v1alpha1.ConditionAuthorized
	isTrue     = metav1.ConditionTrue
	isFalse    = metav1.ConditionFalse
)
