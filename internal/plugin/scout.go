package plugin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/plugin/doctor"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// scout looks at a server as the operator would and writes into a spec what the server needs.
type scout struct {
	rules *doctor.Rules
	progress
}

// proxy that this machine reaches public hosts by; nil if there is none.
func proxy() *url.URL {
	u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: "mcp.example.com"}})
	if err != nil || u == nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// explore adds to a spec what the server needs, and says what was found and why. A server that cannot be reached is
// left to the operator.
func (s *scout) explore(ctx context.Context, spec *v1alpha1.MCPConnectionSpec) error {
	found, err := s.discover(ctx, spec)
	if e := mcpoauth.AsError(err); e != nil {
		if e.Kind == mcpoauth.Transient && ctx.Err() == nil {
			s.say("from here the server cannot be looked at, so that is left to the operator: " + e.Message)
			return nil
		}
		return kube.Exit(kube.ExitFailed, "%s%s", e.Message, hint(e.Code))
	}
	if err != nil {
		return err
	}
	if !found.AuthorizationRequired {
		s.say("the server answers without authorization and names no authorization server: no token is needed")
		return nil
	}
	as := &found.AuthorizationServer
	s.say("the server wants a token, and names the authorization server " + as.Issuer)
	if err := s.register(spec, as); err != nil {
		return err
	}
	s.describe(spec, found)
	return nil
}

// discover finds the authorization server. A server that has no more than MCP 2025-03-26 asks for is asked as that
// says, and the spec then says so too.
func (s *scout) discover(ctx context.Context, spec *v1alpha1.MCPConnectionSpec) (*mcpoauth.Discovery, error) {
	found, err := s.rules.Discover(ctx, spec, s.f.Now)
	if e := mcpoauth.AsError(err); e == nil || e.Code != mcpoauth.MetadataNotFound || e.Status != http.StatusUnauthorized {
		return found, err
	}
	legacy := spec.DeepCopy()
	if legacy.Compatibility == nil {
		legacy.Compatibility = &v1alpha1.CompatibilitySpec{}
	}
	legacy.Compatibility.LegacyEndpoints = ptr.To(true)
	if found, err = s.rules.Discover(ctx, legacy, s.f.Now); err != nil {
		return nil, err
	}
	spec.Compatibility = legacy.Compatibility
	s.say("the server answers 401 and has no protected resource metadata, as MCP 2025-03-26 had it: " +
		"compatibility.legacyEndpoints is written")
	return found, nil
}

// register says how the operator will become a client, and writes the issuer beside credentials.
func (s *scout) register(spec *v1alpha1.MCPConnectionSpec, as *mcpoauth.AuthorizationServerMetadata) error {
	if spec.Client != nil {
		if spec.AuthorizationServer == nil {
			spec.Client.Issuer = as.Issuer
		}
		s.say("client: that of Secret " + spec.Client.CredentialsSecretRef.Name + ", which is sent to " + as.Issuer +
			" and to nobody else")
		return nil
	}
	// Whether the operator's document can be fetched hangs on its --external-url, which nobody knows here.
	const document = "https://operator.invalid/oauth/client-metadata.json"
	method, err := mcpoauth.SelectRegistration("", false, document, *as)
	switch {
	case err != nil:
		return kube.Exit(kube.ExitFailed, "authorization server %s registers no client by itself: register one there with "+
			"the redirect URI <external-url>/oauth/callback, store client_id and client_secret in a Secret, and add "+
			"--credentials-secret NAME", as.Issuer)
	case method == mcpoauth.Dynamic:
		s.say("client: the operator registers one by itself (dynamic client registration)")
	case as.RegistrationEndpoint != "":
		s.say("client: the operator's metadata document if --external-url is public and https, else one that it " +
			"registers by itself")
	default:
		s.say("client: the operator's metadata document, which wants a public https --external-url")
	}
	return nil
}

// describe says what a token will be good for.
func (s *scout) describe(spec *v1alpha1.MCPConnectionSpec, found *mcpoauth.Discovery) {
	var scopes []string
	for _, scope := range spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	switch scopes = mcpoauth.SelectScopes(scopes, found, ""); {
	case len(scopes) == 0:
		s.say("scopes: none are asked for; the authorization server decides")
	default:
		s.say("scopes: " + strings.Join(scopes, " "))
	}
	if found.DPoPRequired {
		s.say("the server takes only tokens that are bound to a key (DPoP): workloads sign each request with the key " +
			"in the Secret")
	}
	if found.AuthorizationServer.RevocationEndpoint == "" {
		s.say("the authorization server names no revocation endpoint: deleting the connection does not end its tokens")
	}
	if found.Unlisted != "" {
		s.say(fmt.Sprintf("the server names %s, not the issuer of --issuer", found.Unlisted))
	}
}

// hint is what to do here about an error of discovery.
func hint(code mcpoauth.Code) string {
	switch code {
	case mcpoauth.InsecureURL:
		return "; where the operator runs with --allow-insecure-http, add it here too"
	case mcpoauth.EgressDenied:
		return "; where the operator runs with --egress-allow-cidrs, add it here too"
	case mcpoauth.IssuerMismatch:
		return " (here: --issuer)"
	case mcpoauth.PKCEUnsupported:
		return " (here: --assume-pkce-s256)"
	}
	return ""
}
