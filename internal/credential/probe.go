package credential

import "time"

// Probe is what the MCP server made of a grant's token when it was last tried.
type Probe struct {
	// Name, Version and ProtocolVersion of the server, and how many Tools it offers, when it last accepted the token.
	Name            string `json:"name,omitempty"`
	Version         string `json:"version,omitempty"`
	ProtocolVersion string `json:"protocol_version,omitempty"`
	Tools           int32  `json:"tools,omitempty"`
	// At is when that was first found; zero if the token was never accepted.
	At time.Time `json:"at,omitzero"`
	// Reason and Message say why the server refused the token. If it accepted it, Reason is empty, and so is Message
	// unless its answer was too long to be read to the end.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Token is the SHA-256 of the one that was refused: that says nothing of another.
	Token string `json:"token,omitempty"`
	// Wants is what is still to be done about a refused token.
	Wants Want `json:"wants,omitempty"`
}
