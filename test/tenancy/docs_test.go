package tenancy

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/test/harness"
)

// goOutput is what a go command prints in the repository's root.
func goOutput(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = harness.InRepository()
	out, err := cmd.Output()
	must(t, err)
	return out
}

func TestEveryDirectDependencyIsExplained(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	must(t, json.Unmarshal(goOutput(t, "mod", "edit", "-json"), &mod))
	linked := map[string]string{}
	for _, program := range []struct{ path, word string }{{"./cmd/kubectl-mcpc", "the plugin's"}, {"./cmd", "yes"}} {
		for module := range strings.FieldsSeq(string(goOutput(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}",
			program.path))) {
			linked[module] = program.word
		}
	}
	text, err := os.ReadFile(harness.InRepository("docs", "dependencies.md"))
	must(t, err)
	explained := map[string]string{} // whether the table says that it is in the binary
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+ \\| (yes|the plugin's|no) \\|$").FindAllStringSubmatch(string(text), -1) {
		explained[row[1]] = row[2]
	}
	for _, r := range mod.Require {
		if r.Indirect {
			continue
		}
		got, ok := explained[r.Path]
		delete(explained, r.Path)
		want := linked[r.Path]
		if want == "" {
			want = "no"
		}
		if !ok || got != want {
			t.Errorf("docs/dependencies.md: %s is explained: %v, in the binary: %q, want %q", r.Path, ok, got, want)
		}
	}
	for path := range explained {
		t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", path)
	}
}
