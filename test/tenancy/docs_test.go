package tenancy

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goOutput is what a go command prints in the repository's root.
func goOutput(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = inRepository()
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
		for module := range strings.FieldsSeq(string(goOutput(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", program.path))) {
			linked[module] = program.word
		}
	}
	text, err := os.ReadFile(inRepository("docs", "dependencies.md"))
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

// TestTheThreatModelNamesTestsThatExist keeps docs/security.md from promising what was renamed or removed, and from leaving
// out a fuzz target.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, dir := range []string{"api", "cmd", "hack", "internal", "test"} {
		must(t, filepath.WalkDir(inRepository(dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, name := range declared.FindAllStringSubmatch(string(text), -1) {
				tests[name[1]] = true
			}
			return err
		}))
	}
	text, err := os.ReadFile(inRepository("docs", "security.md"))
	must(t, err)
	named := map[string]bool{}
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(text), -1) {
		named[name[1]] = true
		if !tests[name[1]] {
			t.Errorf("docs/security.md names %s, which does not exist", name[1])
		}
	}
	for name := range tests {
		if strings.HasPrefix(name, "Fuzz") && !named[name] {
			t.Errorf("docs/security.md does not name %s", name)
		}
	}
	_, threats, _ := strings.Cut(string(text), "\n| asset | attacker |")
	threats, _, _ = strings.Cut(threats, "\n\n")
	rows := strings.Split(threats, "\n")[2:]
	if len(rows) < 20 {
		t.Errorf("%d threats only", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(row, "`Test") {
			t.Errorf("no test proves %s", row)
		}
	}
}

// TestTheSuitesOfTheThreatModel: each has tests of which a row of the threats names one at least.
func TestTheSuitesOfTheThreatModel(t *testing.T) {
	text, err := os.ReadFile(inRepository("docs", "security.md"))
	must(t, err)
	threats, suites, found := strings.Cut(string(text), "\n## Suites\n")
	if !found {
		t.Fatal("there are no suites")
	}
	suites, _, _ = strings.Cut(suites, "\n## ")
	files := regexp.MustCompile("`([a-z/_]+_test.go)`").FindAllStringSubmatch(suites, -1)
	if len(files) < 6 {
		t.Errorf("%d files only", len(files))
	}
	for _, file := range files {
		source, err := os.ReadFile(inRepository(file[1]))
		must(t, err)
		named := false
		for _, name := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			named = named || strings.Contains(threats, "`"+name[1]+"`")
		}
		if !named && strings.Contains(string(source), "\nfunc Test") {
			t.Errorf("no threat names a test of %s", file[1])
		}
	}
}
