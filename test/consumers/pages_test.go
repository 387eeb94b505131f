package consumers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachPageSaysWhatHappensAtARefresh: what it says of who was run is kept by whoever writes it.
func TestEachPageSaysWhatHappensAtARefresh(t *testing.T) {
	overview := read(t, "../../docs/consumers.md")
	folders, err := os.ReadDir(examples)
	must(t, err)
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		name := folder.Name()
		page := read(t, filepath.Join(examples, name, "README.md"))
		if lines := strings.Count(page, "\n"); lines > 20 { // of at most 100 columns
			t.Errorf("the page of %s has %d lines", name, lines)
		}
		for _, words := range []string{"**At a refresh**: ", "**Tested"} {
			if !strings.Contains(page, words) {
				t.Errorf("the page of %s does not say %q", name, words)
			}
		}
		if strings.Contains(page, "does **not** follow") && !strings.Contains(page, "](../sidecar/README.md)") {
			t.Errorf("%s does not follow, and its page does not show the proxy", name)
		}
		if !strings.Contains(overview, "](../examples/consumers/"+name+"/README.md)") {
			t.Errorf("docs/consumers.md does not name %s", name)
		}
		if manifests, err := filepath.Glob(filepath.Join(examples, name, "*.yaml")); err != nil || len(manifests) == 0 {
			t.Errorf("%s has no manifest: %v", name, err)
		}
	}
}

// TestTheSDKsExampleIsPython: more cannot be said of it here, for the SDK cannot be had.
func TestTheSDKsExampleIsPython(t *testing.T) {
	file := filepath.Join(examples, "python", "sdk.py")
	out, err := exec.CommandContext(t.Context(), python, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())",
		file).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
