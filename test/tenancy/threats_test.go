package tenancy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/specs"
)

// suites are the packages whose specs docs/security.md may name. A dry run of another package than this one takes the
// time to link it, and starts nothing.
var suites = []string{"test/tenancy", "test/doctor", "internal/controller", "internal/credential", "internal/callback"}

// proofs are the files that hold what docs/security.md may name, by its name: a test or a fuzz target by that of its
// function, specs by their text, or by the beginning of it that they share as a container.
var proofs = sync.OnceValues(func() (map[string][]string, error) {
	found := map[string][]string{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, dir := range []string{"api", "cmd", "hack", "internal", "test"} {
		err := filepath.WalkDir(harness.InRepository(dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, name := range declared.FindAllStringSubmatch(string(text), -1) {
				found[name[1]] = append(found[name[1]], path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, suite := range suites {
		if err := addSpecs(found, harness.InRepository(suite)); err != nil {
			return nil, err
		}
	}
	return found, nil
})

// addSpecs asks the tests of a package, in a dry run, which specs there are.
func addSpecs(found map[string][]string, dir string) error {
	report, err := os.CreateTemp("", "specs-*.json")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(report.Name()) }()
	program, args := "go", []string{"test", "-vet=off"}
	if raced() { // what make test has compiled already serves
		args = append(args, "-race")
	}
	args = append(args, ".", "-args")
	if dir == harness.InRepository("test", "tenancy") { // this program
		program, args = os.Args[0], nil
	}
	args = append(args, "-test.run=^TestSpecs$", "-ginkgo.dry-run", "-ginkgo.json-report="+report.Name())
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), specs.EnvFocus+"=", specs.EnvReports+"=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dry run in %s: %w: %s", dir, err, out)
	}
	var reports []types.Report
	if err := json.NewDecoder(report).Decode(&reports); err != nil {
		return err
	}
	for _, suite := range reports {
		for _, spec := range suite.SpecReports.WithLeafNodeType(types.NodeTypeIt) {
			texts := append(slices.Clone(spec.ContainerHierarchyTexts), spec.LeafNodeText)
			for i := range texts {
				name := strings.TrimSuffix(strings.Join(texts[:i+1], " "), ":")
				found[name] = append(found[name], spec.LeafNodeLocation.FileName)
			}
		}
	}
	return nil
}

// raced reports whether this test was built with the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// securityPage is docs/security.md, and of its threats the rows.
func securityPage(t *testing.T) (page string, rows []string) {
	t.Helper()
	text, err := os.ReadFile(harness.InRepository("docs", "security.md"))
	must(t, err)
	_, threats, _ := strings.Cut(string(text), "\n| asset | attacker |")
	threats, _, _ = strings.Cut(threats, "\n\n")
	return string(text), strings.Split(threats, "\n")[2:]
}

// quoted are the words of a text that stand as code.
func quoted(text string) []string {
	var words []string
	for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		words = append(words, word[1])
	}
	return words
}

// proofsOf are what the last cell of a threat names, but for commands.
func proofsOf(row string) []string {
	cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
	command := func(word string) bool { return strings.HasPrefix(word, "make ") }
	return slices.DeleteFunc(quoted(cells[len(cells)-1]), command)
}

// TestTheThreatModelNamesTestsThatExist keeps docs/security.md from promising what was renamed or removed, and from
// leaving out a fuzz target.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	known, err := proofs()
	must(t, err)
	page, rows := securityPage(t)
	named := map[string]bool{}
	for _, word := range quoted(page) {
		if regexp.MustCompile(`^(?:Test|Fuzz)\w+$`).MatchString(word) {
			named[word] = true
		}
	}
	if len(rows) < 20 {
		t.Errorf("%d threats only", len(rows))
	}
	for _, row := range rows {
		words := proofsOf(row)
		if len(words) == 0 {
			t.Errorf("no test proves %s", row)
		}
		for _, word := range words {
			named[word] = true
		}
	}
	for name := range named {
		if known[name] == nil {
			t.Errorf("docs/security.md names %s, which is neither a test nor a spec", name)
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "Fuzz") && !named[name] {
			t.Errorf("docs/security.md does not name %s", name)
		}
	}
}

// TestTheSuitesOfTheThreatModel: each file has tests or specs, of which a row of the threats names one at least, or
// holds what others of its package use.
func TestTheSuitesOfTheThreatModel(t *testing.T) {
	known, err := proofs()
	must(t, err)
	page, rows := securityPage(t)
	_, suites, found := strings.Cut(page, "\n## Suites\n")
	if !found {
		t.Fatal("there are no suites")
	}
	suites, _, _ = strings.Cut(suites, "\n## ")
	held, proving := map[string]bool{}, map[string]bool{} // files with tests or specs; those of which a threat names one
	for _, files := range known {
		for _, file := range files {
			held[file] = true
		}
	}
	for _, row := range rows {
		for _, word := range proofsOf(row) {
			for _, file := range known[word] {
				proving[file] = true
			}
		}
	}
	files := regexp.MustCompile("`([a-z/_]+_test.go)`").FindAllStringSubmatch(suites, -1)
	if len(files) < 6 {
		t.Errorf("%d files only", len(files))
	}
	for _, file := range files {
		path := harness.InRepository(file[1])
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if held[path] && !proving[path] {
			t.Errorf("no threat names a test of %s", file[1])
		}
	}
}
