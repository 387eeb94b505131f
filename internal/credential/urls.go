package credential

import (
	"net/url"
	"strings"
)

// Paths of the pages below the external URL.
const (
	// PathConnect is followed by a ticket.
	PathConnect = "/connect/"
	// PathCallback is the redirect URI (RFC 6749, section 3.1.2).
	PathCallback = "/oauth/callback"
	// PathClientMetadata is the client metadata document.
	PathClientMetadata = "/oauth/client-metadata.json"
	// PathClientMetadataJWT is the one of a client that authenticates with the operator's own key (private_key_jwt).
	PathClientMetadataJWT = "/oauth/client-metadata-jwt.json"
	// PathJWKS holds the public half of that key (RFC 7517, section 5).
	PathJWKS = "/oauth/jwks.json"
)

// ConnectURL is the link that a person opens; empty without an external URL or a ticket.
func ConnectURL(externalURL, ticket string) string {
	if ticket == "" {
		return ""
	}
	return below(externalURL, PathConnect+ticket)
}

// RedirectURI is where authorization responses go; empty without an external URL.
func RedirectURI(externalURL string) string { return below(externalURL, PathCallback) }

// ClientMetadataURL is the client_id of a metadata document client. It is empty unless the external URL is https, for
// authorization servers fetch nothing else.
func ClientMetadataURL(externalURL string) string {
	return belowHTTPS(externalURL, PathClientMetadata)
}

// ClientMetadataJWTURL is the client_id of a metadata document client that authenticates by private_key_jwt. It is
// empty where ClientMetadataURL is.
func ClientMetadataJWTURL(externalURL string) string {
	return belowHTTPS(externalURL, PathClientMetadataJWT)
}

// JWKSURL is where authorization servers find the operator's public keys; empty without an external URL.
func JWKSURL(externalURL string) string { return below(externalURL, PathJWKS) }

func belowHTTPS(externalURL, path string) string {
	u, err := url.Parse(externalURL)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return below(externalURL, path)
}

func below(externalURL, path string) string {
	base := strings.TrimRight(externalURL, "/")
	if base == "" {
		return ""
	}
	return base + path
}
