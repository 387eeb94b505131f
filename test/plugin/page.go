package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/test/harness"
)

// page is where what is written here stands.
const page = "docs/kubectl-mcpc.md"

// markers begin and end what a command writes.
func markers(block string) (begin, end string) {
	return "<!-- " + block + ": written by make docs -->\n", "<!-- end of " + block + " -->\n"
}

// readPage is the page's path and text.
func readPage() (path, text string, err error) {
	root, err := harness.RepoRoot()
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(root, page)
	content, err := os.ReadFile(path)
	return path, string(content), err
}

// between is what stands between the markers of a block; false if the text has none.
func between(text, block string) (string, bool) {
	begin, end := markers(block)
	_, rest, found := strings.Cut(text, begin)
	inside, _, closed := strings.Cut(rest, end)
	return inside, found && closed
}

// write replaces a block of the page.
func write(block, content string) error {
	path, text, err := readPage()
	if err != nil {
		return err
	}
	old, found := between(text, block)
	if !found {
		return fmt.Errorf("%s has no markers of the block %s", page, block)
	}
	begin, end := markers(block)
	return os.WriteFile(path, []byte(strings.Replace(text, begin+old+end, begin+content+end, 1)), 0o644)
}

// help is what --help says of each verb.
func help() string {
	var text strings.Builder
	root := plugin.Command(kube.NewFactory(genericiooptions.NewTestIOStreamsDiscard()))
	for _, verb := range root.Commands() {
		fmt.Fprintf(&text, "\n### %s\n\n```text\n%s```\n", verb.Name(), helpOf(verb))
	}
	return text.String() + "\n"
}

// helpOf is what a verb says of itself, without the flags that all of them have.
func helpOf(verb *cobra.Command) string {
	var out bytes.Buffer
	verb.SetOut(&out)
	_ = verb.Help() // writes to a buffer
	text, _, _ := strings.Cut(out.String(), "\nGlobal Flags:")
	return strings.TrimSpace(text) + "\n"
}
