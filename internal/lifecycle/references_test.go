package lifecycle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestReferencedSecretsNeverPrint(t *testing.T) {
	for _, value := range []any{
		ReferencedClient{ID: "id", Secret: "hunter2"}, &ReferencedClient{Secret: "hunter2"},
		ImportedGrant{RefreshToken: "hunter2"}, &ImportedGrant{RefreshToken: "hunter2"},
		InitialAccessToken{Value: "hunter2"}, &InitialAccessToken{Value: "hunter2"},
		&State{Client: &ReferencedClient{Secret: "hunter2"},
			Held: &credential.Held{Credential: &credential.Credential{Grants: []credential.Grant{{AccessToken: "hunter2"}}}}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "hunter2") {
				t.Errorf("%s shows %T: %s", verb, value, text)
			}
		}
	}
}
