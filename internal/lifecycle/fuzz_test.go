package lifecycle

import (
	"cmp"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// choices reads decisions from bytes; after the last byte all of them are the first choice.
type choices []byte

func (c *choices) next(n int) int {
	if len(*c) == 0 {
		return 0
	}
	chosen := int((*c)[0]) % n
	*c = (*c)[1:]
	return chosen
}

func (c *choices) yes() bool { return c.next(2) == 1 }

func pick[T any](c *choices, from ...T) T { return from[c.next(len(from))] }

// arbitrary makes any state at all from bytes, also such as no reconcile leaves behind.
func arbitrary(data []byte) (time.Time, *State) {
	c := (*choices)(&data)
	now := epoch.Add(pick(c, 0, time.Second, givenRefresh-time.Minute, givenRefresh, givenLifetime-1, givenLifetime,
		2*time.Hour, credential.TicketLifetime))
	o := given()
	o.ExternalURL = pick(c, givenExternal, "", "https://new.example.com", givenExternal+"/")
	arbitrarySpec(c, o)
	for range c.next(3) {
		granted(func(g *credential.Grant) {
			arbitraryGrant(c, g)
			if !g.Public {
				g.GrantType = pick(c, GrantTypeOf(o.Spec()), GrantTypeOf(o.Spec()), "ClientCredentials", "")
				g.SpecHash = pick(c, BindingHash(o.Spec()), "")
			}
		})(o)
	}
	if c.next(4) == 1 {
		o.stored().PutNamedIssuer(credential.NamedIssuer{ServerURL: givenServer, Issuer: pick(c, givenIssuer, otherIssuer),
			Pinned: pick(c, "", givenIssuer)})
	}
	if c.yes() {
		o.stored().ProbedAt = epoch.Add(pick(c, 0, time.Minute, givenRefresh))
	}
	if c.next(6) == 1 {
		retired(pick(c, "client-0", "client-1"))(o)
	}
	arbitraryAuthorization(c, o)
	arbitrarySecret(c, o)
	for range c.next(4) {
		row := pick(c, steps...)
		s, possible := row.step, reasons.At(cmp.Or(row.condition, v1alpha1.ConditionAuthorized), metav1.ConditionFalse)
		switch s {
		case StepPublish:
			possible = []string{v1alpha1.ReasonSecretConflict}
		case StepFinalize:
			possible = []string{v1alpha1.ReasonTokenRequestFailing, v1alpha1.ReasonSecretWriteFailing}
		case StepProbe:
			possible = []string{v1alpha1.ReasonServerUnreachable, v1alpha1.ReasonProbeUnauthorized}
		}
		failing(s, pick(c, possible...), pick(c, 0, time.Second, time.Minute, givenRefresh, 2*time.Hour))(o)
	}
	if c.yes() {
		o.Conn.Status = Report(pick(c, epoch, now), o)
	}
	switch c.next(13) {
	case 9:
		o.Imported = &ImportedGrant{RefreshToken: "brought along", Issuer: givenIssuer,
			Missing: pick(c, "", "It is missing.")}
	case 1:
		o.Unusable = pick(c, credential.ErrCorrupt, credential.ErrForeign)
		o.Held = nil
	case 2:
		isDeleted(o)
	case 3:
		o.Conn.Finalizers = nil
		if c.yes() {
			isDeleted(o)
		}
	case 4:
		o.Busy = UrgentSlotRetry
	case 5:
		o.Rediscover = true
	case 6:
		foundServer(o)
	case 7:
		foundServer(o)
		foundClient(o)
	case 8:
		o.Client = &ReferencedClient{ID: pick(c, "client-1", "other"), Missing: pick(c, "", "It is missing.")}
	}
	return now, o
}

func arbitrarySpec(c *choices, o *State) {
	spec := &o.Conn.Spec
	spec.ServerURL = pick(c, givenServer, "https://other.example.com/mcp")
	spec.Suspend = pick(c, nil, ptr.To(false), nil, nil, ptr.To(true))
	switch c.next(10) {
	case 5, 6:
		spec.GrantType, spec.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "agent"
	case 1:
		spec.Scopes = []v1alpha1.Scope{"files:read"}
	case 2:
		spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: pick(c, givenIssuer, givenIssuer+"/")}
	case 3:
		spec.Client = &v1alpha1.ClientSpec{Registration: pick(c, v1alpha1.RegistrationAuto, v1alpha1.RegistrationDynamic,
			v1alpha1.RegistrationMetadataDocument), MetadataDocumentURL: pick(c, "", "https://me.example.com/c.json")}
	case 4:
		spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: pick(c, "", "renamed"),
			Data: map[string]v1alpha1.Template{"x": pick(c, v1alpha1.Template("{{.authorization}}"), "{{range .}}{{end}}",
				"{{")}}
	}
	if c.next(3) == 1 {
		interval := pick(c, 0, time.Minute, givenRefresh, 2*time.Hour)
		spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: interval}}
	}
	for _, name := range []string{v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationRevoke} {
		if c.next(4) == 1 {
			o.Conn.Annotations[name] = "1"
		}
	}
	if c.next(3) == 1 {
		o.Conn.Annotations[v1alpha1.AnnotationChallenge] = pick(c, givenChallenge, "Bearer")
	}
	o.Handled = v1alpha1.LastHandled{Challenge: pick(c, ChallengeID(o.Conn), "", "other"), Reauthorize: pick(c, "1", ""),
		Refresh: pick(c, "1", ""), Revoke: pick(c, "1", "")}
}

func arbitraryGrant(c *choices, g *credential.Grant) {
	g.Binding = givenBinding(pick(c, givenServer, givenServer, "https://other.example.com/mcp"))
	g.Issuer = pick(c, givenIssuer, givenIssuer+"/")
	g.Client.Method = pick(c, mcpoauth.Dynamic, mcpoauth.MetadataDocument, mcpoauth.Preregistered)
	g.TokenType = pick(c, "Bearer", "", "bearer", "DPoP")
	g.AccessToken = pick(c, givenToken, givenToken, "")
	g.DPoPJWK = pick(c, "", givenKey)
	g.UnknownOutcomes = c.next(4)
	for i, change := range []func(*credential.Grant){withoutRefreshToken, withoutExpiry, isSetAside, toBeRevoked, isPublic,
		justEnded, refusedBefore} {
		if c.next(4+i) == 1 {
			change(g)
		}
	}
	arbitraryProbe(c, g)
	if c.next(4) == 1 {
		g.EndsAt, g.EndNamedAt, g.EndStays = epoch.Add(pick(c, givenRefresh, time.Hour, 2*time.Hour)), epoch, c.yes()
	}
	if g.SetAside != nil && publishable(g) && c.yes() {
		g.SetAside.Retried, g.SetAside.Reason = true, v1alpha1.ReasonTokenRequestRejected
	}
	g.Refusals = pick(c, 0, minRefusals)
	g.StepUps = c.next(5)
	if c.next(4) == 1 {
		g.Challenge = &credential.Challenge{ID: pick(c, credential.Hash(givenChallenge), "other"), Insufficient: c.yes(),
			Scopes: pick(c, []string{"files:write"}, []string{"files:read"}, nil),
			Wants: pick(c, credential.WantsNothing, credential.WantsRefresh, credential.WantsDiscovery,
				credential.WantsConsent)}
	}
	if c.next(3) == 1 {
		secretExpires(pick(c, 0, givenRefresh, givenLifetime), 2*time.Hour)(g)
		g.Client.UpdateAt = pick(c, g.Client.UpdateAt, time.Time{})
		for _, change := range []func(*credential.Grant){isManaged, updateRefused} {
			if c.yes() {
				change(g)
			}
		}
	}
	if c.next(5) == 1 {
		g.Claim = &credential.Claim{ID: "claim", Holder: "other"}
	}
}

func arbitraryProbe(c *choices, g *credential.Grant) {
	g.Generation = int64(c.next(2))
	switch c.next(4) {
	case 1:
		g.Probe = nil
	case 2:
		probeRefused(v1alpha1.ReasonInsufficientScope, credential.WantsNothing)(withProbe(g))
	case 3:
		probeRefused(v1alpha1.ReasonProbeUnauthorized, pick(c, credential.WantsNothing, credential.WantsRefresh,
			credential.WantsDiscovery))(withProbe(g))
	}
	if g.Probe != nil {
		g.Probe.Token = pick(c, tokenID(g), credential.Hash("other"))
	}
}

func withProbe(g *credential.Grant) *credential.Grant {
	g.Probe = givenProbe()
	return g
}

func arbitraryAuthorization(c *choices, o *State) {
	if c.yes() {
		offered(func(offer *credential.Offer) {
			offer.Reauthorize = pick(c, "", "1", "0")
			offer.ExpiresAt = epoch.Add(pick(c, credential.TicketLifetime, time.Hour))
			offer.Binding.ServerURL = pick(c, o.Conn.Spec.ServerURL, o.Conn.Spec.ServerURL, givenServer)
			offer.SpecHash = pick(c, offer.SpecHash, offer.SpecHash, "other")
		})(o)
	}
	if c.next(4) == 1 {
		answered(o)
	}
	if c.next(4) == 1 {
		concluded(pick(c, reasons.At(v1alpha1.ConditionAuthorized, metav1.ConditionFalse)...))(o)
	}
}

func arbitrarySecret(c *choices, o *State) {
	switch c.next(6) {
	case 0, 1, 2:
		published(o)
	case 3:
		isForeign(o)
	case 4:
		published(o)
		o.Secret = nil
	}
	if o.Secret == nil || c.next(4) != 1 {
		return
	}
	switch c.next(6) {
	case 0:
		o.Secret.OwnerReferences = nil
	case 1:
		o.OwnerGone = true
		o.Secret.OwnerReferences = []metav1.OwnerReference{{UID: "other", Controller: ptr.To(true)}}
	case 2:
		o.Secret.Data = map[string][]byte{"access_token": []byte("x"),
			"server_url": []byte(pick(c, givenServer, "https://gone.example.com"))}
	case 3:
		o.Secret.Data = map[string][]byte{"expires_at": []byte("soon"), "access_token": {0xff}}
	case 4:
		o.PublishedName = "earlier"
	case 5:
		o.Secret.Type = corev1.SecretTypeBasicAuth
	}
}

// checkAnyState says what is wrong with the decision for, the status of and the next look at a state made from bytes.
func checkAnyState(data []byte) []string {
	now, o := arbitrary(data)
	s := Decide(now, o)
	var wrong []string
	if s != StepNone && importance(s) < 0 {
		wrong = append(wrong, string(s)+" is no step")
	}
	if again := Decide(now, o); again != s {
		wrong = append(wrong, "the step is "+string(s)+", then "+string(again))
	}
	conn := reported(now, o)
	wrong = append(wrong, CheckStatusLaws(conn, now)...)
	if after := pause(now, o); after < 0 || (s != StepNone && after == 0) {
		wrong = append(wrong, "it is to "+string(s)+", and looks again after "+after.String())
	}
	again := *o
	again.Conn = conn
	if second := Report(now, &again); !equality.Semantic.DeepEqual(second, conn.Status) {
		wrong = append(wrong, "reported again, the status is another")
	}
	return append(wrong, restIsSafe(now, o)...)
}

// FuzzDecide has any state lead to exactly one step, to a status that obeys its laws, and to no rest that misses
// anything.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a connection that rests, or does not"))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, wrong := range checkAnyState(data) {
			t.Error(wrong)
		}
	})
}

func TestTwentyThousandStatesObeyTheLaws(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 48)
	for range states20k() {
		for i := range data {
			data[i] = byte(random.UintN(256))
		}
		if wrong := checkAnyState(data); len(wrong) > 0 {
			t.Fatalf("%q from %v", wrong, data)
		}
	}
}

func states20k() int { n, _ := strconv.Atoi(os.Getenv("STATES")); return max(n, 20_000) }
