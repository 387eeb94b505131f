package doctor

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func compatibility(spec *v1alpha1.MCPConnectionSpec) v1alpha1.CompatibilitySpec {
	return ptr.Deref(spec.Compatibility, v1alpha1.CompatibilitySpec{})
}

func clientSpec(spec *v1alpha1.MCPConnectionSpec) v1alpha1.ClientSpec {
	return ptr.Deref(spec.Client, v1alpha1.ClientSpec{})
}

// change is something to write into the spec.
type change struct {
	apply func(*v1alpha1.MCPConnectionSpec)
	// caution says when it may be written.
	caution string
}

// mend is the change that a failed discovery asks for; false if none is known. It only says what may be tried.
func mend(spec *v1alpha1.MCPConnectionSpec, e *mcpoauth.Error, r *requests) (change, bool) {
	document := r.document(stageAuthorizationServer)
	switch {
	case e.Code == mcpoauth.PKCEUnsupported && document != nil && document["code_challenge_methods_supported"] == nil:
		return change{
			apply:   func(s *v1alpha1.MCPConnectionSpec) { compat(s).AssumePKCES256 = ptr.To(true) },
			caution: "assumePKCES256: only if the authorization server's documentation says that it supports PKCE with S256.",
		}, true
	case e.Code == mcpoauth.MetadataNotFound && len(r.byStage[stageAuthorizationServer]) == 0 &&
		!discovery.Request(spec).LegacyEndpoints:
		return change{
			apply:   func(s *v1alpha1.MCPConnectionSpec) { compat(s).LegacyEndpoints = ptr.To(true) },
			caution: "legacyEndpoints: only for a server of MCP 2025-03-26, whose origin is its authorization server.",
		}, true
	case e.Code == mcpoauth.IssuerMismatch && plainURL(document["issuer"]) != "":
		issuer := plainURL(document["issuer"])
		return change{
			apply: func(s *v1alpha1.MCPConnectionSpec) {
				if s.AuthorizationServer == nil {
					s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{}
				}
				s.AuthorizationServer.Issuer = issuer
			},
			caution: "authorizationServer.issuer: only if you trust that issuer; tokens are sent to the endpoints of " +
				"its document.",
		}, true
	}
	return change{}, false
}

func compat(s *v1alpha1.MCPConnectionSpec) *v1alpha1.CompatibilitySpec {
	if s.Compatibility == nil {
		s.Compatibility = &v1alpha1.CompatibilitySpec{}
	}
	return s.Compatibility
}

// plainURL is a stranger's text if it is an https or http URL in plain ASCII, without user name, query and fragment;
// else empty.
func plainURL(value any) string {
	text, _ := value.(string)
	u, err := url.Parse(text)
	if err != nil || len(text) > 1024 || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return ""
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#@"`, r) }) {
		return ""
	}
	return text
}

// pasted is a spec as YAML.
func pasted(spec *v1alpha1.MCPConnectionSpec) (string, error) {
	text, err := yaml.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return "", fmt.Errorf("write the spec: %w", err)
	}
	return string(text), nil
}
