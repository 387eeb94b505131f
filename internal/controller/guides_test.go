package controller

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const (
	samplesFolder = "../../config/samples"
	guidesFolder  = "../../docs/guides"
)

// guides are the pages of docs/guides.
func guides(t testing.TB) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(guidesFolder, "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return pages
}

// sampleNames are the files of the kustomization, which must be all there are.
func sampleNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(samplesFolder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := os.ReadFile(filepath.Join(samplesFolder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		name, _ := strings.CutSuffix(filepath.Base(file), ".yaml")
		if name == "kustomization" {
			continue
		}
		if !strings.Contains(string(listed), "- "+name+".yaml\n") {
			t.Errorf("the kustomization lacks %s.yaml", name)
		}
		if _, known := samples[name]; !known {
			t.Errorf("nothing is known about the sample %s", name)
		}
		names = append(names, name)
	}
	if len(names) != len(samples) {
		t.Errorf("%d files, but %d are known", len(names), len(samples))
	}
	return names
}

// shownCommand is one command of a page, with the output that the page shows.
type shownCommand struct{ command, output string }

// console is a block of commands in a page, run one after the other.
type console []shownCommand

// readConsoles are the blocks of a page.
func readConsoles(t testing.TB, page string) []console {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []console
	for _, block := range regexp.MustCompile("(?ms)^( *)```console\n(.*?)^ *```$").FindAllStringSubmatch(string(text),
		-1) {
		var c console
		for line := range strings.Lines(block[2]) {
			line = strings.TrimPrefix(line, block[1])
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				c = append(c, shownCommand{command: strings.TrimSpace(command)})
			} else {
				c[len(c)-1].output += line
			}
		}
		all = append(all, c)
	}
	return all
}

// about reports whether a block shows a connection of this name.
func (c console) about(name string) bool {
	return slices.ContainsFunc(c, func(s shownCommand) bool {
		return regexp.MustCompile(`(?m)^` + name + ` `).MatchString(s.output)
	})
}

// waits reports whether a block is from before the consent.
func (c console) waits() bool {
	return slices.ContainsFunc(c, func(s shownCommand) bool {
		return strings.Contains(s.output, v1alpha1.ReasonConsentRequired)
	})
}

// TestEachSampleIsShownInAGuide keeps the pages and the files the same.
func TestEachSampleIsShownInAGuide(t *testing.T) {
	var pages strings.Builder
	for _, page := range guides(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(text)
	}
	for _, name := range sampleNames(t) {
		manifest, err := os.ReadFile(filepath.Join(samplesFolder, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(pages.String(), "```yaml\n"+string(manifest)+"```\n") {
			t.Errorf("no page of %s shows %s.yaml as it is", guidesFolder, name)
		}
	}
}

// TestEachCommandShownIsOfASample, for only those are run.
func TestEachCommandShownIsOfASample(t *testing.T) {
	for _, page := range guides(t) {
		blocks := readConsoles(t, page)
		if len(blocks) == 0 {
			t.Errorf("%s does not show what one sees", page)
		}
		for _, c := range blocks {
			known := false
			for name, s := range samples {
				known = known || c.about(name) && (s.consent || !c.waits())
			}
			if !known {
				t.Errorf("%s shows %q, which no test runs", page, c[0].command)
			}
		}
	}
}
