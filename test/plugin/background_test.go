package main

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// deadline bounds what a test waits for.
const deadline = 30 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says checks what was printed, wherever its lines were broken.
func (r result) says(t *testing.T, parts ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(r.out+" "+r.err), " ")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s%s", part, r.out, r.err)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// stream collects what a process prints while it runs.
type stream struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// background is a command that runs beside the test.
type background struct {
	cmd      *exec.Cmd
	out, err stream
	// taken lines of out.
	taken int
}

// background starts kubectl mcpc.
func (s *stage) background(t *testing.T, arguments ...string) *background {
	t.Helper()
	b := &background{cmd: s.command(t.Context(), append([]string{"mcpc"}, arguments...)...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.err
	must(t, b.cmd.Start())
	return b
}

// line waits for the next line of standard output that begins with a text.
func (b *background) line(t *testing.T, begin string) string {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		lines := strings.SplitAfter(b.out.String(), "\n")
		for ; b.taken < len(lines)-1; b.taken++ {
			if strings.HasPrefix(lines[b.taken], begin) {
				b.taken++
				return strings.TrimSpace(lines[b.taken-1])
			}
		}
	}
	t.Fatalf("no line begins with %q:\n%s%s", begin, b.out.String(), b.err.String())
	return ""
}

// await waits until standard error holds a text.
func (b *background) await(t *testing.T, part string) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(strings.Join(strings.Fields(b.err.String()), " "), part) {
			return
		}
	}
	t.Fatalf("it does not say %q:\n%s%s", part, b.out.String(), b.err.String())
}

// end waits for the end of the process.
func (b *background) end(t *testing.T) result {
	t.Helper()
	_ = b.cmd.Wait()
	return result{out: b.out.String(), err: b.err.String(), code: b.cmd.ProcessState.ExitCode()}
}

// token is what the token Secret of a connection holds.
func (s *stage) token(t *testing.T, name string) string {
	t.Helper()
	m, err := s.plane.Connection(t.Context(), types.NamespacedName{Namespace: namespace, Name: name})
	must(t, err)
	keys, err := s.plane.TokenSecret(t.Context(), m)
	must(t, err)
	return keys["access_token"]
}
