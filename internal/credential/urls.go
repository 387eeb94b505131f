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
	u, err := url.Parse(externalURL)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return below(externalURL, PathClientMetadata)
}

func below(externalURL, path string) string {
	base := strings.TrimRight(externalURL, "/")
	if base == "" {
		return ""
	}
	return base + path
}
