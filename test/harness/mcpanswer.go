package harness

import (
	"encoding/json"
	"net/http"
)

// AnswerMCP answers one request of an MCP client whose token was accepted, as a stateless server with one tool does.
func AnswerMCP(w http.ResponseWriter, r *http.Request, name string) {
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
			"_meta": map[string]any{"io.modelcontextprotocol/serverInfo": map[string]string{"name": name, "version": "1.0.0"}},
		}
	case "tools/list":
		answer["result"] = map[string]any{"resultType": "complete", "tools": []any{map[string]any{
			"name": "echo", "inputSchema": map[string]string{"type": "object"},
		}}}
	default:
		answer["error"] = map[string]any{"code": -32601, "message": "method not found"}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone needs no answer
}
