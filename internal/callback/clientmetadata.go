package callback

import (
	"encoding/json"
	"net/http"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// clientMetadataDocument describes the operator to authorization servers that fetch their clients' metadata
// (draft-ietf-oauth-client-id-metadata-document; members: RFC 7591, section 2).
type clientMetadataDocument struct {
	ClientID                string              `json:"client_id"`
	ClientName              string              `json:"client_name"`
	RedirectURIs            []string            `json:"redirect_uris"`
	GrantTypes              []string            `json:"grant_types"`
	ResponseTypes           []string            `json:"response_types"`
	TokenEndpointAuthMethod mcpoauth.AuthMethod `json:"token_endpoint_auth_method"`
	ApplicationType         string              `json:"application_type"`
	SoftwareVersion         string              `json:"software_version,omitempty"`
}

// clientMetadata serves the document, which exists only where authorization servers could fetch it: at an https URL.
func (s *Server) clientMetadata(x *exchange) {
	id := credential.ClientMetadataURL(s.o.ExternalURL)
	if id == "" {
		s.render(x, notFoundPage())
		return
	}
	if !s.allow(x, http.MethodGet, http.MethodHead) {
		return
	}
	body, err := json.MarshalIndent(clientMetadataDocument{
		ClientID: id, ClientName: s.o.ClientName, RedirectURIs: []string{credential.RedirectURI(s.o.ExternalURL)},
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		TokenEndpointAuthMethod: mcpoauth.AuthMethodNone, ApplicationType: "web", SoftwareVersion: s.o.Version,
	}, "", "  ")
	if err != nil {
		s.problem(x, err)
		return
	}
	x.w.Header().Set("Cache-Control", "public, max-age=3600")
	s.write(x, http.StatusOK, "application/json", append(body, '\n'))
}
