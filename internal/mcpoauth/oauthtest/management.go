package oauthtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// managed answers at the registration_client_uri (RFC 7592). An update renews the registration access token and the
// secret; the old ones end.
func (s *Server) managed(w http.ResponseWriter, r *http.Request) {
	client, ok := s.findClient(strings.TrimPrefix(r.URL.Path, RegisterPath+"/"))
	if !ok || r.Header.Get("Authorization") != "Bearer "+client.RegistrationAccessToken {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeError(w, http.StatusUnauthorized, "invalid_token", "unknown client, or not its registration access token")
		return
	}
	switch r.Method {
	case http.MethodPut:
		s.update(w, r, client)
	case http.MethodDelete:
		s.forgetClient(client.ID)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "PUT, DELETE")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (s *Server) update(w http.ResponseWriter, r *http.Request, client Client) {
	in, members, ok := s.readRegistration(w, r)
	if !ok {
		return
	}
	var id string
	_ = json.Unmarshal(members["client_id"], &id)
	if id != client.ID {
		writeError(w, http.StatusBadRequest, "invalid_client_metadata", "client_id is missing, or another")
		return
	}
	// What the server issues is not the client's to send (RFC 7592, section 2.2).
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at",
		"client_id_issued_at"} {
		if _, sent := members[name]; sent {
			writeError(w, http.StatusBadRequest, "invalid_client_metadata", name+" is not to be sent")
			return
		}
	}
	writeJSON(w, http.StatusOK, s.store(client.ID, in, members))
}

// forgetClient ends a client with its grants.
func (s *Server) forgetClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
	s.order = slices.DeleteFunc(s.order, func(known string) bool { return known == id })
	for _, g := range s.grants {
		if g.ClientID == id {
			g.Revoked = true
		}
	}
}
