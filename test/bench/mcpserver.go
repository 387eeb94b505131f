package main

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// serveMCP answers the probe of a connection's token, without a session (MCP specification 2026-07-28), and everybody else
// with a challenge.
func (s *authServer) serveMCP(w http.ResponseWriter, r *http.Request, url string) {
	i, err := strconv.Atoi(r.PathValue("i"))
	if err != nil || !s.holds(i, r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+url+"/.well-known/oauth-protected-resource/mcp/"+r.PathValue("i")+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&call) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": call.ID}
	switch call.Method {
	case "server/discover":
		answer["result"] = map[string]any{
			"resultType": "complete", "supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{"tools": map[string]any{}},
			"_meta": map[string]any{"io.modelcontextprotocol/serverInfo": map[string]string{"name": "bench", "version": "1.0.0"}},
		}
	case "tools/list":
		answer["result"] = map[string]any{"resultType": "complete", "tools": []any{map[string]any{
			"name": "echo", "inputSchema": map[string]string{"type": "object"},
		}}}
	default:
		answer["error"] = map[string]any{"code": -32601, "message": "method not found"}
	}
	writeJSON(w, http.StatusOK, answer)
}

// holds says whether this is the Authorization header of a connection's token.
func (s *authServer) holds(i int, authorization string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return i >= 0 && i < len(s.grants) && s.grants[i].access != "" && authorization == "Bearer "+s.grants[i].access
}
