package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/api/v1alpha1"
	_ "github.com/mcp-connection/operator/internal/controller" // its metrics
)

const reference = "../docs/reference.md"

// section is what a page has below a heading.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %s", page, heading)
	}
	below, _, _ = strings.Cut(below, "\n## ")
	return below
}

// help is what --help prints.
func help(t *testing.T) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "help"))
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = file
	_, err = parseFlags([]string{"--help"})
	os.Stdout = stdout
	text, readErr := os.ReadFile(file.Name())
	if !errors.Is(err, flag.ErrHelp) || file.Close() != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	return string(text)
}

// TestTheReferenceHasTheFlags in the words of --help.
func TestTheReferenceHasTheFlags(t *testing.T) {
	var want strings.Builder
	for _, f := range regexp.MustCompile(`(?m)^  -(\S+).*\n    \t(.*?)(?: \(default "?(.*?)"?\))?$`).FindAllStringSubmatch(help(t), -1) {
		fmt.Fprintf(&want, "| `--%s` | %s | %s |\n", f[1], f[3], f[2])
	}
	if strings.Count(want.String(), "\n") < 20 {
		t.Fatalf("--help has no flags:\n%s", help(t))
	}
	if !strings.Contains(section(t, reference, "Flags"), "|---|---|---|\n"+want.String()) {
		t.Errorf("the table of %s is another than\n%s", reference, want.String())
	}
}

func TestTheReferenceHasTheMetrics(t *testing.T) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text, ours := section(t, reference, "Metrics"), 0
	known := map[string]bool{}
	for _, f := range families {
		known[f.GetName()] = true
		if strings.HasPrefix(f.GetName(), "mcp_connection_") {
			ours++
			if !strings.Contains(text, "| `"+f.GetName()+"` |") {
				t.Errorf("%s lacks %s", reference, f.GetName())
			}
		}
	}
	for _, name := range regexp.MustCompile("`(mcp_connection_[a-z_]+)`").FindAllStringSubmatch(text, -1) {
		if !known[name[1]] {
			t.Errorf("%s names %s, which there is not", reference, name[1])
		}
	}
	if ours == 0 {
		t.Error("there are no metrics")
	}
}

func TestTheReferenceHasTheAnnotations(t *testing.T) {
	text := section(t, reference, "Annotations")
	for _, name := range []string{
		v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationRevoke, v1alpha1.AnnotationChallenge, v1alpha1.AnnotationAllowedAudiences,
	} {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("%s lacks %s", reference, name)
		}
	}
	if n := strings.Count(text, "\n| `"); n != 5 {
		t.Errorf("%s has %d annotations", reference, n)
	}
}

// TestTheReadmeKnowsEachReason of a condition.
func TestTheReadmeKnowsEachReason(t *testing.T) {
	source, err := os.ReadFile("../api/v1alpha1/conditions.go")
	if err != nil {
		t.Fatal(err)
	}
	text, known := section(t, "../README.md", "Troubleshooting"), map[string]bool{}
	for _, reason := range regexp.MustCompile(`Reason\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		known[reason[1]] = true
		if reason[1] != v1alpha1.ReasonSucceeded && !strings.Contains(text, "`"+reason[1]+"`") {
			t.Errorf("the README lacks %s", reason[1])
		}
	}
	if len(known) < 30 {
		t.Errorf("%d reasons only", len(known))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(text, -1) {
		for _, reason := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			if !known[reason[1]] {
				t.Errorf("the README explains %s, which there is not", reason[1])
			}
		}
	}
}
