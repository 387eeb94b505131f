package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs are built from these packages, in the folders of their modules. Go's cache makes a second time quick;
// binaries lie outside the checkout.
var programs = map[string]struct{ folder, pkg string }{
	"go":    {examples + "/go", "."},
	"caddy": {"caddy", "github.com/caddyserver/caddy/v2/cmd/caddy"},
}

// built is where a program is.
func built(name string) string {
	cache, err := os.UserCacheDir() // XDG_CACHE_HOME, or ~/.cache
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "mcp-connection-operator", "consumers", name)
}

// build builds all programs.
func build(t *testing.T) {
	t.Helper()
	for name, program := range programs {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", built(name), program.pkg)
		cmd.Dir = program.folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build of %s: %v: %s", program.pkg, err, out)
		}
	}
}
