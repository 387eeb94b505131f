package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/mcp-connection/operator/api/v1alpha1"
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

// printed is what the program prints for a flag that is a question.
func printed(t *testing.T, flag string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = file
	_, err = parseFlags([]string{flag})
	os.Stdout = stdout
	text, readErr := os.ReadFile(file.Name())
	if !errors.Is(err, errAnswered) || file.Close() != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	return string(text)
}

// TestTheReferenceHasTheFlags in the groups and the words of --help.
func TestTheReferenceHasTheFlags(t *testing.T) {
	var want strings.Builder
	help := strings.Join(strings.Fields(printed(t, "--help")), " ")
	for _, g := range new(options).flags(&given{}) {
		fmt.Fprintf(&want, "\n### %s\n\n| flag | default | |\n|---|---|---|\n", g.title)
		g.VisitAll(func(f *pflag.Flag) {
			standard := f.DefValue
			if standard == "false" {
				standard = ""
			}
			fmt.Fprintf(&want, "| `--%s` | %s | %s |\n", f.Name, standard, f.Usage)
			if !strings.Contains(help, "--"+f.Name+" ") || !strings.Contains(help, f.Usage) {
				t.Errorf("--help lacks --%s", f.Name)
			}
		})
	}
	if text := section(t, reference, "Flags"); !strings.HasSuffix(text, want.String()) {
		t.Errorf("the tables of %s are others than\n%s", reference, want.String())
	}
}

func TestTheReferenceHasTheAnnotations(t *testing.T) {
	text := section(t, reference, "Annotations")
	names := []string{
		v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationRevoke, v1alpha1.AnnotationChallenge,
		v1alpha1.AnnotationAllowedAudiences,
		v1alpha1.AnnotationAllowedEndpoints, v1alpha1.AnnotationIssuer,
	}
	for _, name := range names {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("%s lacks %s", reference, name)
		}
	}
	if n := strings.Count(text, "\n| `"); n != len(names) {
		t.Errorf("%s has %d annotations", reference, n)
	}
}
