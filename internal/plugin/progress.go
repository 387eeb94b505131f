package plugin

import (
	"fmt"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// progress tells on standard error what a wait is at, each thing once.
type progress struct {
	f    *kube.Factory
	last string
}

// say prints a sentence.
func (p *progress) say(text string) {
	style := view.StyleOf(kube.TerminalOf(p.f.ErrOut))
	for i, line := range style.Wrap(text, 2) {
		mark := "  "
		if i == 0 {
			mark = "· "
		}
		_, _ = fmt.Fprintln(p.f.ErrOut, mark+line)
	}
}

// tell says what Ready says, if that is news.
func (p *progress) tell(m *v1alpha1.MCPConnection) {
	if text := readiness(m); text != p.last {
		p.last = text
		p.say(text)
	}
}

// readiness is what Ready says.
func readiness(m *v1alpha1.MCPConnection) string {
	if ready := view.Condition(m, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason + ": " + ready.Message
	}
	return "the operator has not looked at it yet"
}

// lost says that the API server does not answer for now.
func (p *progress) lost(err error) { p.say(err.Error() + "; asking again") }

// why is what stands in the way of Ready, as a sentence without its full stop.
func why(m *v1alpha1.MCPConnection) string {
	ready := view.Condition(m, v1alpha1.ConditionReady)
	if ready == nil {
		return "the operator has not looked at it: is it running, and does it serve this namespace?"
	}
	return view.Plain(ready.Reason + ": " + ready.Message)
}
