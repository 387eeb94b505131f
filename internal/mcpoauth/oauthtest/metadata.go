package oauthtest

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
)

const formType = "application/x-www-form-urlencoded"

// Answer answers as the specification says.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	c := s.settings()
	switch {
	case c.at(r.URL.Path, MCPPath):
		s.serveMCP(w, r)
	case c.at(r.URL.Path, ResourceMetadataPath) && !c.Public && !c.NoResourceMetadata:
		s.serveResourceMetadata(w, r)
	case c.Public:
		http.NotFound(w, r)
	case r.URL.Path == s.MetadataPath():
		s.serveMetadata(w, r)
	case r.URL.Path == AuthorizePath:
		s.authorize(w, r)
	case r.URL.Path == TokenPath:
		s.token(w, r)
	case r.URL.Path == RegisterPath && !c.NoRegistration:
		s.register(w, r)
	case strings.HasPrefix(r.URL.Path, RegisterPath+"/") && c.RegistrationManagement:
		s.managed(w, r)
	case r.URL.Path == RevokePath && !c.NoRevocation:
		s.revoke(w, r)
	default:
		http.NotFound(w, r)
	}
}

// at reports whether a path or URL is another one, or, with EachPath, below it.
func (c *Config) at(path, base string) bool {
	return path == base || c.EachPath && strings.HasPrefix(path, base+"/")
}

// guards reports whether a resource identifier is that of the MCP endpoint, or of one of many.
func (s *Server) guards(resource string) bool {
	c := s.settings()
	return c.IgnoreResource || c.at(resource, s.Resource())
}

func (s *Server) serveResourceMetadata(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	c := s.settings()
	servers := c.AuthorizationServers
	if servers == nil {
		servers = []string{s.Issuer()}
	}
	md := map[string]any{
		"resource":                 s.Resource() + strings.TrimPrefix(r.URL.Path, ResourceMetadataPath),
		"authorization_servers":    servers,
		"scopes_supported":         c.Scopes,
		"bearer_methods_supported": []string{"header"},
	}
	if c.DPoP {
		md["dpop_bound_access_tokens_required"] = true
	}
	writeJSON(w, http.StatusOK, md)
}

// Metadata of the authorization server as it is served, for tests that serve a changed one with Handle.
func (s *Server) Metadata() map[string]any {
	c := s.settings()
	md := map[string]any{
		"issuer":                                s.Issuer(),
		"authorization_endpoint":                s.URL + AuthorizePath,
		"token_endpoint":                        s.URL + TokenPath,
		"scopes_supported":                      c.ServerScopes,
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 c.GrantTypes,
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": c.AuthMethods,
	}
	if slices.Contains(c.AuthMethods, "private_key_jwt") {
		md["token_endpoint_auth_signing_alg_values_supported"] = algorithms
	}
	if !c.NoRegistration {
		md["registration_endpoint"] = s.URL + RegisterPath
	}
	if !c.NoRevocation {
		md["revocation_endpoint"] = s.URL + RevokePath
	}
	if !c.NoIssParameter {
		md["authorization_response_iss_parameter_supported"] = true
	}
	if c.DPoP {
		md["dpop_signing_alg_values_supported"] = []string{"ES256"}
	}
	if c.ClientIDDocuments != nil || c.AnyClientIDDocument {
		md["client_id_metadata_document_supported"] = true
	}
	return md
}

func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if allow(w, r, http.MethodGet) {
		writeJSON(w, http.StatusOK, s.Metadata())
	}
}

func allow(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method {
		return true
	}
	w.Header().Set("Allow", method)
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

// quiet is where net/http's complaints about clients go.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
