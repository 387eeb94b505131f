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
	// SigningAlg and JWKSURI are for private_key_jwt only.
	SigningAlg      string `json:"token_endpoint_auth_signing_alg,omitempty"`
	JWKSURI         string `json:"jwks_uri,omitempty"`
	ApplicationType string `json:"application_type"`
	SoftwareVersion string `json:"software_version,omitempty"`
}

// clientMetadata serves one of the two documents, which exist only where authorization servers could fetch them: at an
// https URL. By key the client authenticates with the operator's own (private_key_jwt).
func (s *Server) clientMetadata(x *exchange, byKey bool) {
	document := clientMetadataDocument{
		ClientID: credential.ClientMetadataURL(s.o.ExternalURL), ClientName: s.o.ClientName,
		RedirectURIs: []string{credential.RedirectURI(s.o.ExternalURL)},
		GrantTypes:   []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		TokenEndpointAuthMethod: mcpoauth.AuthMethodNone, ApplicationType: "web", SoftwareVersion: s.o.Version,
	}
	if byKey {
		document.ClientID = credential.ClientMetadataJWTURL(s.o.ExternalURL)
		document.TokenEndpointAuthMethod, document.SigningAlg = mcpoauth.AuthMethodPrivateKeyJWT, mcpoauth.OwnKeyAlgorithm
		document.JWKSURI = credential.JWKSURL(s.o.ExternalURL)
	}
	if document.ClientID == "" {
		s.render(x, notFoundPage())
		return
	}
	if !s.allow(x, http.MethodGet, http.MethodHead) {
		return
	}
	body, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		s.problem(x, err)
		return
	}
	x.w.Header().Set("Cache-Control", "public, max-age=3600")
	s.write(x, http.StatusOK, "application/json", append(body, '\n'))
}
