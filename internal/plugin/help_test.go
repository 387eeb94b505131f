package plugin_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// verbs are those that a person sees.
func verbs() []*cobra.Command {
	return plugin.Command(kube.NewFactory(genericiooptions.NewTestIOStreamsDiscard())).Commands()
}

func TestEveryVerbHasHelpWithExamples(t *testing.T) {
	for _, verb := range append(verbs(), &cobra.Command{Use: ""}) {
		name := verb.Name()
		r := offline(t, append(strings.Fields(name), "--help")...)
		r.want(t, 0, "Usage: kubectl mcpc", "Examples: ")
		if name != "" && !strings.Contains(verb.Example, "kubectl mcpc "+name) {
			t.Errorf("%s: the examples do not use it", name)
		}
		for line := range strings.Lines(r.out) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
				t.Errorf("%s: a line of %d characters: %s", name, n, line)
			}
		}
		if strings.Contains(r.out, "kubectl-mcpc") {
			t.Errorf("%s: help names the file instead of the command", name)
		}
	}
}

func TestCompletionIsTheScriptThatKubectlLooksFor(t *testing.T) {
	if r := offline(t, "completion"); r.out != plugin.CompleteScript ||
		!strings.Contains(r.out, `exec kubectl mcpc __complete "$@"`) {
		t.Error(r.out)
	}
}
