package plugin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// maxCures is how many deviations from the specification are tried, each because the step before asked for it by name.
const maxCures = 2

// scout looks at a server as the operator would and writes into a spec what the server needs.
type scout struct {
	client *mcpoauth.Client
	progress
}

func newScout(f *kube.Factory, o *createOptions) (*scout, error) {
	var allowed []netip.Prefix
	for _, text := range o.cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, kube.Exit(kube.ExitUsage, "--egress-allow-cidrs: %q is no range of addresses, such as 10.0.0.0/8", text)
		}
		allowed = append(allowed, prefix)
	}
	return &scout{progress: progress{f: f}, client: mcpoauth.NewClient(mcpoauth.Options{
		UserAgent: "kubectl-mcpc/" + f.Version, AllowInsecureHTTP: o.insecure, AllowCIDRs: allowed, Now: f.Now, ProxyURL: proxy(),
	})}, nil
}

// proxy that this machine reaches public hosts by; nil if there is none.
func proxy() *url.URL {
	u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: "mcp.example.com"}})
	if err != nil || u == nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// explore adds to a spec what the server needs, and says what was found and why. A server that cannot be reached is left to
// the operator.
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

// discover finds the authorization server. What the server lacks is waived if nothing but that stands in the way, and written down.
func (s *scout) discover(ctx context.Context, spec *v1alpha1.MCPConnectionSpec) (*mcpoauth.Discovery, error) {
	request := mcpoauth.DiscoveryRequest{
		ServerURL: spec.ServerURL, MayBePublic: spec.Client == nil && spec.AuthorizationServer == nil && len(spec.Scopes) == 0,
	}
	if as := spec.AuthorizationServer; as != nil {
		request.Issuer = as.Issuer
	}
	client := s.client.For(spec.ServerURL)
	for tries := 0; ; tries++ {
		found, err := client.Discover(ctx, request)
		e := mcpoauth.AsError(err)
		switch {
		case e == nil:
			s.note(spec, &request)
			return found, err
		case tries == maxCures:
			return nil, err
		case e.Code == mcpoauth.MetadataNotFound && e.Status == http.StatusUnauthorized && !request.LegacyEndpoints:
			request.LegacyEndpoints = true
		case e.Code == mcpoauth.PKCEUnsupported && !request.AssumePKCES256:
			request.AssumePKCES256 = true
		default:
			return nil, err
		}
	}
}

// note writes down what was waived.
func (s *scout) note(spec *v1alpha1.MCPConnectionSpec, request *mcpoauth.DiscoveryRequest) {
	if !request.LegacyEndpoints && !request.AssumePKCES256 {
		return
	}
	spec.Compatibility = &v1alpha1.CompatibilitySpec{}
	if request.LegacyEndpoints {
		spec.Compatibility.LegacyEndpoints = ptr.To(true)
		s.say("the server answers 401 and has no protected resource metadata, as MCP 2025-03-26 had it: compatibility.legacyEndpoints is written")
	}
	if request.AssumePKCES256 {
		spec.Compatibility.AssumePKCES256 = ptr.To(true)
		s.say("the authorization server does not say that it supports PKCE with S256; it is used all the same: compatibility.assumePKCES256 is written")
	}
}

// register says how the operator will become a client, and writes the issuer beside credentials.
func (s *scout) register(spec *v1alpha1.MCPConnectionSpec, as *mcpoauth.AuthorizationServerMetadata) error {
	if spec.Client != nil {
		if spec.AuthorizationServer == nil {
			spec.Client.Issuer = as.Issuer
		}
		s.say("client: that of Secret " + spec.Client.CredentialsSecretRef.Name + ", which is sent to " + as.Issuer + " and to nobody else")
		return nil
	}
	// Whether the operator's document can be fetched hangs on its --external-url, which nobody knows here.
	const document = "https://operator.invalid/oauth/client-metadata.json"
	method, err := mcpoauth.SelectRegistration("", false, document, *as)
	switch {
	case err != nil:
		return kube.Exit(kube.ExitFailed, "authorization server %s registers no client by itself: register one there with the redirect URI <external-url>/oauth/callback, store client_id and client_secret in a Secret, and add --credentials-secret NAME", as.Issuer)
	case method == mcpoauth.Dynamic:
		s.say("client: the operator registers one by itself (dynamic client registration)")
	case as.RegistrationEndpoint != "":
		s.say("client: the operator's metadata document if --external-url is public and https, else one that it registers by itself")
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
		s.say("the server takes only tokens that are bound to a key (DPoP): workloads sign each request with the key in the Secret")
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
	}
	return ""
}
