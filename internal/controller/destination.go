package controller

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// destination is where a secret would be sent.
type destination struct {
	endpoint, issuer string
	// documented is set if the issuer's own validated metadata name the endpoint.
	documented bool
}

// holder is what a secret was read from or minted for, and what its owner said of where it may go.
type holder struct {
	// kind and name are of the object, such as secret c; field is that of the spec that names it.
	kind, namespace, name, field string
	// issuer that the secret is for, by its owner's own word; empty if the owner says nothing, and the spec decides.
	issuer string
	// allowed are the endpoints that it may be sent to besides those of its issuer, as the annotation lists them.
	allowed string
}

// holder is what the owner of a referenced Secret said: in its key issuer, or in annotations.
func (ref *reference) holder() holder {
	issuer := trimmed(ref.Data["issuer"])
	if issuer == "" {
		issuer = ref.Annotations[v1alpha1.AnnotationIssuer]
	}
	return holder{
		kind: "secret", namespace: ref.Namespace, name: ref.Name, field: ref.field,
		issuer: issuer, allowed: ref.Annotations[v1alpha1.AnnotationAllowedEndpoints],
	}
}

// admits says whether what the holder holds may be sent to a destination. An endpoint that the spec's author wrote is nobody's word but
// that author's: it has to be of the issuer's origin, or the owner has to name it.
func (h *holder) admits(d destination) error {
	switch {
	case d.endpoint == "" || slices.Contains(entries(h.allowed), d.endpoint):
		return nil
	case !h.isFor(d.issuer):
		return h.refusal(d, "is for the issuer "+mcpoauth.Sanitize(h.issuer, maxNamed)+", and not for "+d.issuer)
	case d.documented || sameOrigin(d.endpoint, d.issuer):
		return nil
	}
	return h.refusal(d, "is for the issuer "+d.issuer+", whose own metadata do not name that endpoint, and which has another origin")
}

// isFor reports whether the owner says nothing of an issuer, or names this one.
func (h *holder) isFor(issuer string) bool { return h.issuer == "" || h.issuer == issuer }

func (h *holder) refusal(d destination, why string) error {
	return unmet{v1alpha1.ReasonCredentialsMissing, fmt.Sprintf(
		"What the %s %s holds, named by %s, is not sent to %s: it %s. If its owner agrees, allow that endpoint with `kubectl -n %s annotate %s %s --overwrite %s`",
		h.kind, h.name, h.field, d.endpoint, why, h.namespace, h.kind, h.name, quoted(v1alpha1.AnnotationAllowedEndpoints+"="+appended(h.allowed, d.endpoint)))}
}

// entries are those of an annotation, which commas separate.
func entries(annotation string) []string {
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

// destinations are the endpoints of an authorization server that a client's secret is sent to.
func destinations(as *mcpoauth.AuthorizationServerMetadata) []destination {
	return []destination{{as.TokenEndpoint, as.Issuer, as.Documented}, {as.RevocationEndpoint, as.Issuer, as.Documented}}
}

// clientMayGo says whether the secret of the client that the spec names may be sent to a server.
func (o *observed) clientMayGo(to ...destination) error {
	if o.client == nil || o.client.missing != "" {
		return nil
	}
	for _, d := range to {
		if err := o.client.holder.admits(d); err != nil {
			return err
		}
	}
	return nil
}

// holdsClientOf reports whether the Secret that the spec names holds exactly the client that a grant was given to: only its owner speaks
// for what is stored.
func (o *observed) holdsClientOf(b *credential.Binding) bool {
	return o.client != nil && o.client.missing == "" && o.client.id == b.Client.ClientID && o.client.key == nil && o.client.secret == b.Client.ClientSecret
}

// mayAuthenticate says whether what the Secret of the spec holds now authenticates where a grant or a code is spent. What is stored
// there already tells nothing new; anything else, rotated or of another owner, goes only where its owner said.
func (o *observed) mayAuthenticate(b *credential.Binding) bool {
	if o.client == nil || o.client.missing != "" || b.Client.Method != mcpoauth.Preregistered || o.client.id != b.Client.ClientID || b.Issuer != o.pinnedIssuer() {
		return false
	}
	return o.holdsClientOf(b) || o.clientMayGo(destination{b.TokenEndpoint, b.Issuer, b.Documented}, destination{b.RevocationEndpoint, b.Issuer, b.Documented}) == nil
}

// mayMove says whether the secrets of a grant may follow its issuer's endpoints: what was read from a reference has an owner, who may be
// another than the author of the spec.
func (o *observed) mayMove(g *credential.Grant, as *mcpoauth.AuthorizationServerMetadata) bool {
	switch {
	case g == nil, g.Issuer != as.Issuer:
		return false
	case g.Client.Method == mcpoauth.Preregistered && o.holdsClientOf(&g.Binding):
		return o.clientMayGo(destinations(as)...) == nil
	case g.Client.Method == mcpoauth.Preregistered, o.credential().Spent.Import != "":
		nobody := &holder{}
		return !slices.ContainsFunc(destinations(as), func(d destination) bool { return nobody.admits(d) != nil })
	}
	return true
}
