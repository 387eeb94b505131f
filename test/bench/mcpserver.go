package main

import (
	"net/http"
	"strconv"

	"github.com/mcp-connection/operator/test/harness"
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
	harness.AnswerMCP(w, r, "bench")
}

// holds says whether this is the Authorization header of a connection's token.
func (s *authServer) holds(i int, authorization string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return i >= 0 && i < len(s.grants) && s.grants[i].access != "" && authorization == "Bearer "+s.grants[i].access
}
