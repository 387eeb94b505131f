package lifecycle

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Appended is a list of an annotation with one more entry.
func Appended(list, entry string) string {
	if strings.TrimSpace(list) == "" {
		return entry
	}
	return list + "," + entry
}

// Quoted is one word of a shell, whatever a server put into it.
func Quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// Destination is where a secret would be sent.
type Destination struct {
	Endpoint, Issuer string
	// Documented is set if the issuer's own validated metadata name the endpoint.
	Documented bool
}

// Holder is what a secret was read from or minted for, and what its owner said of where it may go.
type Holder struct {
	// Kind and name are of the object, such as secret c; field is that of the spec that names it.
	Kind, Namespace, Name, Field string
	// Issuer that the secret is for, by its owner's own word; empty if the owner says nothing, and the spec decides.
	Issuer string
	// Allowed are the endpoints that it may be sent to besides those of its issuer, as the annotation lists them.
	Allowed string
}

// Holder is what the owner of a referenced Secret said: in its key issuer, or in annotations.
func (ref *Reference) Holder() Holder {
	issuer := Trimmed(ref.Data["issuer"])
	if issuer == "" {
		issuer = ref.Annotations[v1alpha1.AnnotationIssuer]
	}
	return Holder{
		Kind: "secret", Namespace: ref.Namespace, Name: ref.Name, Field: ref.Field,
		Issuer: issuer, Allowed: ref.Annotations[v1alpha1.AnnotationAllowedEndpoints],
	}
}

// Admits reports whether what the holder holds may be sent to a destination. An endpoint that the spec's author wrote
// is nobody's word but that author's: it has to be of the issuer's origin, or the owner has to name it.
func (h *Holder) Admits(d Destination) error {
	switch {
	case d.Endpoint == "" || slices.Contains(Entries(h.Allowed), d.Endpoint):
		return nil
	case !h.isFor(d.Issuer):
		return h.refusal(d, "is for the issuer "+mcpoauth.Sanitize(h.Issuer, maxNamed)+", and not for "+d.Issuer)
	case d.Documented || sameOrigin(d.Endpoint, d.Issuer):
		return nil
	}
	return h.refusal(d, "is for the issuer "+d.Issuer+", whose own metadata do not name that endpoint, and which has "+
		"another origin")
}

// isFor reports whether the owner says nothing of an issuer, or names this one.
func (h *Holder) isFor(issuer string) bool { return h.Issuer == "" || h.Issuer == issuer }

func (h *Holder) refusal(d Destination, why string) error {
	return Unmet{v1alpha1.ReasonCredentialsMissing, fmt.Sprintf(
		"What the %s %s holds, named by %s, is not sent to %s: it %s. If its owner agrees, allow that endpoint with "+
			"`kubectl -n %s annotate %s %s --overwrite %s`",
		h.Kind, h.Name, h.Field, d.Endpoint, why, h.Namespace, h.Kind, h.Name,
		Quoted(v1alpha1.AnnotationAllowedEndpoints+"="+Appended(h.Allowed, d.Endpoint)))}
}

// Entries are those of an annotation, which commas separate.
func Entries(annotation string) []string {
	list := strings.Split(annotation, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// sameOrigin reports whether two URLs have the same scheme, host and port (RFC 6454).
func sameOrigin(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && strings.EqualFold(x.Scheme, y.Scheme) && mcpoauth.Host(a) == mcpoauth.Host(b)
}

// Destinations are the endpoints of an authorization server that a client's secret is sent to.
func Destinations(as *mcpoauth.AuthorizationServerMetadata) []Destination {
	return []Destination{{as.TokenEndpoint, as.Issuer, as.Documented}, {as.RevocationEndpoint, as.Issuer, as.Documented}}
}

// ClientMayGo reports whether the secret of the client that the spec names may be sent to a server.
func (s *State) ClientMayGo(to ...Destination) error {
	if s.Client == nil || s.Client.Missing != "" {
		return nil
	}
	for _, d := range to {
		if err := s.Client.Holder.Admits(d); err != nil {
			return err
		}
	}
	return nil
}

// holdsClientOf reports whether the Secret that the spec names holds exactly the client that a grant was given to: only
// its owner speaks for what is stored.
func (s *State) holdsClientOf(b *credential.Binding) bool {
	return s.Client != nil && s.Client.Missing == "" && s.Client.ID == b.Client.ClientID && s.Client.Key == nil &&
		s.Client.Secret == b.Client.ClientSecret
}

// mayAuthenticate reports whether what the Secret of the spec holds now authenticates where a grant or a code is spent.
// What is stored there already tells nothing new; anything else, rotated or of another owner, goes only where its owner
// said.
func (s *State) mayAuthenticate(b *credential.Binding) bool {
	if s.Client == nil || s.Client.Missing != "" || b.Client.Method != mcpoauth.Preregistered ||
		s.Client.ID != b.Client.ClientID || b.Issuer != s.PinnedIssuer() {
		return false
	}
	return s.holdsClientOf(b) || s.ClientMayGo(Destination{b.TokenEndpoint, b.Issuer, b.Documented},
		Destination{b.RevocationEndpoint, b.Issuer, b.Documented}) == nil
}

// MayMove reports whether the secrets of a grant may follow its issuer's endpoints: what was read from a reference has
// an owner, who may be another than the author of the spec.
func (s *State) MayMove(g *credential.Grant, as *mcpoauth.AuthorizationServerMetadata) bool {
	switch {
	case g == nil, g.Issuer != as.Issuer:
		return false
	case g.Client.Method == mcpoauth.Preregistered && s.holdsClientOf(&g.Binding):
		return s.ClientMayGo(Destinations(as)...) == nil
	case g.Client.Method == mcpoauth.Preregistered, s.Credential().Spent.Import != "":
		nobody := &Holder{}
		return !slices.ContainsFunc(Destinations(as), func(d Destination) bool { return nobody.Admits(d) != nil })
	}
	return true
}
