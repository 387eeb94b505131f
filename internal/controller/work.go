package controller

import "github.com/mcp-connection/operator/internal/slots"

// work is one reconcile of one connection: what is known of it, and the slots that are held for it.
type work struct {
	*observed
	// pass holds the slots; nil outside of a reconcile.
	pass *slots.Pass
}
