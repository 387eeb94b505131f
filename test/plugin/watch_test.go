package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestStatusIsDrawnAgainUntilCtrlC(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("watched", server, "--apply")...).want(t, 0)
	s.run(t.Context(), "authorize", "watched", "-n", namespace, "--no-open", "--no-forward", "--timeout", "2s").want(t, 3)
	b := s.background(t, "status", "watched", "-n", namespace, "--watch")
	b.line(t, "agents/watched  not Ready")
	b.line(t, "Next        kubectl mcpc authorize watched -n agents")
	s.run(t.Context(), "authorize", "watched", "-n", namespace).want(t, 0)
	b.line(t, "agents/watched  Ready")
	must(t, b.cmd.Process.Signal(syscall.SIGINT))
	r := b.end(t).want(t, 0)
	for line := range strings.Lines(r.out) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && !strings.Contains(line, "http") {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func TestAClosedTerminalEndsWithoutAWord(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("closed", server, "--apply")...).want(t, 0)
	read, write, err := os.Pipe()
	must(t, err)
	must(t, read.Close())
	cmd := s.command(t.Context(), "mcpc", "status", "closed", "-n", namespace, "--watch")
	var said stream
	cmd.Stdout, cmd.Stderr = write, &said
	must(t, cmd.Start())
	must(t, write.Close())
	_ = cmd.Wait()
	state, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !state.Signaled() || state.Signal() != syscall.SIGPIPE || said.String() != "" {
		t.Errorf("it ended with %s and said %q", cmd.ProcessState, said.String())
	}
}
