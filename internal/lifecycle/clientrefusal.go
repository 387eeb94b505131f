package lifecycle

import (
	"fmt"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// MaxClientRefusals is how many clients in a row a server may register and then not accept, before a person has to act.
const MaxClientRefusals = 2

// remedy is what comes after a refused client that registered itself.
type remedy int

const (
	// registersAnew: the server has probably forgotten the client.
	registersAnew remedy = iota
	// sendsSecret: the server demands the secret of a client that it registered without one.
	sendsSecret
	// wantsPerson: another client would be refused too.
	wantsPerson
)

const secretDemanded = "The token endpoint demands the client's secret, though the server registered the client as " +
	"one without; it is sent from now on"

// refuseClient notes that the token endpoint does not accept a client that its server registered, and says what comes
// next. No round of registration, consent and refusal follows another without end.
func refuseClient(c *credential.Credential, b *credential.Binding) remedy {
	c.Authorization.ClientRefusals++
	if client, demanded := b.Client.WithSecret(); demanded {
		c.ReplaceClient(b.Issuer, client)
		return sendsSecret
	}
	if c.Authorization.ClientRefusals >= MaxClientRefusals {
		return wantsPerson
	}
	c.DropRegistration(b.Issuer, b.RedirectURI)
	return registersAnew
}

// refusedAgainText says what a person can do about a server that refuses its own clients.
func refusedAgainText(e *mcpoauth.Error) string {
	return fmt.Sprintf("The authorization server does not accept the clients that it registers itself (%s). Have its "+
		"owner look into that, or register a client by hand and name it in spec.client.credentialsSecretRef; to have "+
		"another client registered, set the annotation %s",
		e.Message, v1alpha1.AnnotationReauthorize)
}

// RefusesClients reports whether another client is registered only if a person asks.
func (s *State) RefusesClients() bool {
	c := s.Credential()
	return c != nil && c.Authorization.ClientRefusals >= MaxClientRefusals
}
