package interop

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// patience bounds every single wait.
	patience = time.Minute
	// refreshes of one token before the operator is restarted, and after.
	refreshes, refreshesAfterRestart = 3, 2
)

// target is a server written by others, or two: one that issues tokens and one that takes them.
type target struct {
	name string
	// manifest is a file; what running replaces in it are the examples of the file.
	manifest string
	// registration and authMethod are what the operator should choose for itself; empty: it names no client.
	registration v1alpha1.Registration
	authMethod   string
	// rotates says that each refresh brings another refresh token.
	rotates bool
	// grantType is that of token requests where nobody is asked and nothing is refreshed; empty: it is refreshed.
	grantType string
	// imported says that the consent was given elsewhere.
	imported bool
	// managed says that the client's registration is updated, and deleted with the connection.
	managed bool
	// bound says that tokens are bound to a key, which the token Secret holds (RFC 9449).
	bound bool
	// unrevoked says that nothing can be revoked: a token lives until it expires.
	unrevoked bool
	// start runs the servers until the test ends.
	start func(context.Context, *testing.T, *cluster) *running
}

// cluster is what the targets share.
type cluster struct {
	plane    *harness.ControlPlane
	operator *harness.Operator
}

// running is a target that runs.
type running struct {
	// issuer and serverURL are shown to the person.
	issuer, serverURL string
	// replace holds what else the manifest is to hold in place of its examples.
	replace map[string]string
	// given are Secrets that are created with the connection, by name.
	given map[string]map[string]string
	// answer fills in the server's login and consent forms.
	answer func(*harness.Page) (*harness.Form, error)
	// seen counts what the authorization server was asked.
	seen func() counts
	// secrets are all secret values that were exchanged, by a name that may be printed.
	secrets func() map[string]string
	// ended fails unless the server refuses what is left of the grant.
	ended func(context.Context) error
}

const samples = "../../config/samples/"

// targets are all servers that the scenario is played against.
var targets = []target{
	// Issues a refresh token only after prompt=consent, which its manifest asks for. Takes no request without the right
	// resource.
	{name: "oidc-provider", manifest: "testdata/oidc-provider.yaml", registration: v1alpha1.RegistrationDynamic,
		authMethod: "none", rotates: true, start: startOIDCProvider()},
	{name: "oidc-provider-no-rotation", manifest: "testdata/oidc-provider.yaml",
		registration: v1alpha1.RegistrationDynamic, authMethod: "none", start: startOIDCProvider("ROTATE=false")},
	// Fetches the document that its client_id names.
	{name: "oidc-provider-metadata-document", manifest: "testdata/metadata-document.yaml",
		registration: v1alpha1.RegistrationMetadataDocument, authMethod: "none", rotates: true,
		start: startOIDCProviderWithDocument},
	// Wants a nonce in every proof, and its MCP server a proof with every request.
	{name: "oidc-provider-dpop", manifest: "testdata/oidc-provider.yaml", registration: v1alpha1.RegistrationDynamic,
		authMethod: "none", rotates: true, bound: true, start: startOIDCProviderWithDPoP},
	// Registers only with an initial access token, and gives secrets that expire unless the registration is updated.
	{name: "oidc-provider-protected", manifest: "testdata/protected-registration.yaml",
		registration: v1alpha1.RegistrationDynamic, authMethod: "client_secret_basic", rotates: true, managed: true,
		start: startProtectedOIDCProvider},
	{name: "oidc-provider-client-secret", manifest: samples + "client-credentials-secret.yaml",
		registration: v1alpha1.RegistrationPreregistered, authMethod: "client_secret_basic", grantType: "client_credentials",
		start: startOIDCProviderForSecret},
	{name: "oidc-provider-private-key", manifest: samples + "client-credentials-private-key.yaml",
		registration: v1alpha1.RegistrationPreregistered, authMethod: "private_key_jwt", grantType: "client_credentials",
		start: startOIDCProviderForKey},
	{name: "oidc-provider-import", manifest: samples + "import.yaml", registration: v1alpha1.RegistrationDynamic,
		authMethod: "none", rotates: true, imported: true, start: startOIDCProviderWithGrant},
	// Authorization server and MCP server in one.
	{name: "mcp-sdk", manifest: "testdata/mcp-sdk.yaml", registration: v1alpha1.RegistrationDynamic, authMethod: "none",
		rotates: true, start: startMCPSDK},
	// The MCP server is what is new here.
	{name: "mcp-server", manifest: "testdata/oidc-provider.yaml", registration: v1alpha1.RegistrationDynamic,
		authMethod: "none", rotates: true, start: startMCPServer},
	{name: "zitadel", manifest: "testdata/preregistered.yaml", registration: v1alpha1.RegistrationPreregistered,
		authMethod: "client_secret_basic", rotates: true, start: startGoServer("zitadel")},
	{name: "fosite", manifest: "testdata/preregistered.yaml", registration: v1alpha1.RegistrationPreregistered,
		authMethod: "client_secret_post", rotates: true, start: startGoServer("fosite")},
	// Trusts what the cluster says of a ServiceAccount, by the cluster's own keys.
	{name: "fosite-service-account", manifest: samples + "jwt-bearer-service-account.yaml", authMethod: "none",
		grantType: jwtBearer, unrevoked: true, start: startGoServerForWorkload},
}

// TestMain lets all targets go at once, however few processors there are: their tokens do not wait for one another.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(len(targets))); err != nil {
		panic(err)
	}
	m.Run()
}

// TestInterop plays the scenario against every target, with one control plane and one operator. They go side by side
// until the restart, which they share, and again after it.
func TestInterop(t *testing.T) {
	ctx := untilStopped(t)
	plane, operator := harness.StartForTest(ctx, t)
	c := &cluster{plane, operator}
	var scenarios []*scenario
	for _, target := range targets {
		if err := c.plane.Namespace(ctx, target.name); err != nil {
			t.Fatal(err)
		}
		key := client.ObjectKey{Namespace: target.name}
		scenarios = append(scenarios, &scenario{target: target, running: target.start(ctx, t, c), cluster: c, key: key})
	}
	sideBySide(t, "before the restart", scenarios, func(s *scenario) { s.playUntilRestart(ctx) })
	for _, s := range scenarios {
		if s.T = t; s.connection != nil { // -run may have left it out
			s.look(ctx)
		}
	}
	if err := c.operator.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	sideBySide(t, "after the restart", scenarios, func(s *scenario) { s.playAfterRestart(ctx) })
	left, err := c.plane.CredentialSecrets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Fatalf("%d credential Secrets are left", len(left))
	}
}

// sideBySide plays one half of all scenarios at once, and ends the test if one of them fails.
func sideBySide(t *testing.T, half string, scenarios []*scenario, play func(*scenario)) {
	t.Helper()
	passed := t.Run(half, func(t *testing.T) {
		for _, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.T = t
				t.Cleanup(s.showFailure)
				play(s)
			})
		}
	})
	if !passed {
		t.FailNow()
	}
}

// untilStopped ends early enough before go test's own time-out, and on Ctrl-C, for everything to be stopped.
func untilStopped(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	if deadline, ok := t.Deadline(); ok {
		limited, cancel := context.WithDeadline(ctx, deadline.Add(-patience))
		t.Cleanup(cancel)
		return limited
	}
	return ctx
}
