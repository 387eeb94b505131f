package oauthtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// serveMCP answers JSON-RPC by POST to whoever has a valid token.
func (s *Server) serveMCP(w http.ResponseWriter, r *http.Request) {
	c := s.settings()
	if !c.Public && !s.admit(w, r, c) {
		return
	}
	if !allow(w, r, http.MethodPost) {
		return
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if json.NewDecoder(r.Body).Decode(&call) != nil {
		http.Error(w, "not JSON-RPC", http.StatusBadRequest)
		return
	}
	if call.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": call.ID}
	if result := result(call.Method, c.Stateless); result != nil {
		answer["result"] = result
	} else {
		answer["error"] = map[string]any{"code": -32601, "message": "method not found"}
	}
	writeJSON(w, http.StatusOK, answer)
}

// result of a method, by the specification of 2025-11-25, or that of 2026-07-28; nil if it is not known.
func result(method string, stateless bool) map[string]any {
	name, capabilities := map[string]string{"name": "oauthtest", "version": "1.0.0"},
		map[string]any{"tools": map[string]any{}}
	out := map[string]any{}
	switch {
	case method == "initialize" && !stateless:
		return map[string]any{"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": name}
	case method == "server/discover" && stateless:
		out["supportedVersions"], out["capabilities"] = []string{"2026-07-28"}, capabilities
		out["_meta"] = map[string]any{"io.modelcontextprotocol/serverInfo": name}
	case method == "tools/list":
		out["tools"] = []any{map[string]any{"name": "echo", "inputSchema": map[string]string{"type": "object"}}}
	default:
		return nil
	}
	if stateless {
		out["resultType"] = "complete"
	}
	return out
}

// admit checks the token (RFC 6750), or answers 401 or 403.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, c Config) bool {
	wanted := "Bearer"
	if c.DPoP {
		wanted = "DPoP"
		offerNonce(w, c)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	presented := token != "" && strings.EqualFold(scheme, wanted)
	valid := s.accepted(token, r.URL.Path, c)
	problem := ""
	switch {
	case presented && valid == nil:
		problem = "invalid_token"
	case presented && c.DPoP:
		problem = s.checkBinding(r, token, valid.thumbprint)
	}
	var parameters []string
	status := http.StatusUnauthorized
	switch {
	case !presented || problem != "":
		if problem != "" {
			parameters = append(parameters, fmt.Sprintf("error=%q", problem))
		}
		if len(c.ChallengeScopes) > 0 {
			parameters = append(parameters, fmt.Sprintf("scope=%q", strings.Join(c.ChallengeScopes, " ")))
		}
	case !subset(c.RequiredScopes, valid.scopes):
		status = http.StatusForbidden
		parameters = append(parameters, `error="insufficient_scope"`,
			fmt.Sprintf("scope=%q", strings.Join(c.RequiredScopes, " ")))
	default:
		return true
	}
	if !c.NoResourceMetadata {
		parameters = append(parameters, fmt.Sprintf("resource_metadata=%q", s.URL+ResourceMetadataPath+
			strings.TrimPrefix(r.URL.Path, MCPPath)))
		w.Header().Set("WWW-Authenticate", wanted+" "+strings.Join(parameters, ", "))
	}
	http.Error(w, http.StatusText(status), status)
	return false
}

// accepted returns nil for a token that the MCP server at a path does not take.
func (s *Server) accepted(token, path string, c Config) *accessToken {
	if c.Accepts != nil {
		if !c.Accepts(token) {
			return nil
		}
		return &accessToken{scopes: c.RequiredScopes}
	}
	valid := s.validAccessToken(token)
	if valid == nil && c.TokensOf != nil {
		valid = c.TokensOf.validAccessToken(token)
	}
	if valid != nil && c.EachPath && valid.grant.Resource != s.Resource()+strings.TrimPrefix(path, MCPPath) {
		return nil
	}
	return valid
}

// checkBinding wants a proof with the key that the token is bound to, and returns an error code (RFC 9449, section
// 7.1).
func (s *Server) checkBinding(r *http.Request, token, bound string) string {
	thumbprint, no := s.checkProof(r, token)
	switch {
	case no != nil:
		return no.code
	case thumbprint != bound:
		return "invalid_token"
	}
	return ""
}

// subset is true if all of a are in b.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}
