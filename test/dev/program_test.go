package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// source is a program that says what it is called, who it is, and that it was asked to end.
const source = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	fmt.Println("this is NAME", os.Args[1], os.Getpid())
	<-asked
	fmt.Println("NAME was asked to end")
}
`

// workshop is a module whose program is followed.
type workshop struct {
	t     *testing.T
	root  string
	lines chan string
	stop  context.CancelFunc
	ended chan error
}

// Write takes what the program prints, whole lines at a time.
func (w *workshop) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		w.lines <- strings.TrimSpace(line)
	}
	return len(text), nil
}

// begin follows a program of that source.
func begin(t *testing.T, text string) *workshop {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &workshop{t: t, root: t.TempDir(), lines: make(chan string, 1000), stop: stop, ended: make(chan error, 1)}
	w.write("go.mod", "module example.com/program\n\ngo 1.26\n")
	w.write("cmd/main.go", text)
	p := &program{
		root: w.root, pkg: "./cmd", sources: []string{"cmd", "go.mod"}, binary: filepath.Join(t.TempDir(), "program"), out: w,
		arguments: func(context.Context) ([]string, error) { return []string{"argument"}, nil },
		logf:      func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) },
	}
	go func() { w.ended <- p.follow(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-w.ended; err != nil {
			t.Errorf("follow ended with: %v", err)
		}
	})
	return w
}

func (w *workshop) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// next waits for a line that holds a text. No line before it may hold one of those that are not expected yet.
func (w *workshop) next(text string, not ...string) string {
	w.t.Helper()
	deadline := time.After(2 * time.Minute)
	var passed []string
	for {
		select {
		case line := <-w.lines:
			if strings.Contains(line, text) {
				return line
			}
			passed = append(passed, line)
			if slices.ContainsFunc(not, func(n string) bool { return strings.Contains(line, n) }) {
				w.t.Fatalf("%q came before %q:\n%s", line, text, strings.Join(passed, "\n"))
			}
		case <-deadline:
			w.t.Fatalf("%q did not come:\n%s", text, strings.Join(passed, "\n"))
		}
	}
}

// pid is the process that a program says it is.
func (w *workshop) pid(line string) (pid int) {
	w.t.Helper()
	if _, err := fmt.Sscanf(line[strings.LastIndexByte(line, ' ')+1:], "%d", &pid); err != nil {
		w.t.Fatalf("%q names no process: %v", line, err)
	}
	return pid
}

func named(name string) string { return strings.ReplaceAll(source, "NAME", name) }

func TestAChangeRestartsTheProgramAndAnErrorLeavesItRunning(t *testing.T) {
	w := begin(t, named("one"))
	w.next("this is one argument")
	w.write("cmd/main.go", named("second"))
	w.next("changed: cmd/main.go")
	w.next("one was asked to end", "this is")
	second := w.pid(w.next("this is second argument"))

	w.write("cmd/main.go", named("third")+"\nfunc broken() { undefined() }\n")
	w.next(fmt.Sprintf("it does not build (exit status 1), so process %d goes on:", second), "asked to end")
	w.next("undefined: undefined", "asked to end")
	if err := syscall.Kill(second, 0); err != nil {
		t.Errorf("process %d: %v", second, err)
	}

	w.write("cmd/main.go", named("fourth"))
	w.next("second was asked to end", "this is")
	fourth := w.pid(w.next("this is fourth argument"))
	w.stop()
	w.next("fourth was asked to end")
	w.ended <- <-w.ended
	if err := syscall.Kill(fourth, 0); err == nil {
		t.Errorf("process %d is left", fourth)
	}
}

func TestAProgramThatEndsByItselfStartsAgainAfterAChange(t *testing.T) {
	w := begin(t, "package main\n\nfunc main() { panic(`so be it`) }\n")
	w.next("so be it")
	w.next("ended by itself (exit status 2)")
	w.write("cmd/main.go", named("two"))
	w.next("this is two argument")
}

func TestASourceThatDoesNotBuildAtFirstStartsOnceItDoes(t *testing.T) {
	w := begin(t, "package main\n")
	w.next("so nothing runs:")
	w.write("cmd/main.go", named("one"))
	w.next("this is one argument")
}

func TestTestsAndHiddenFilesAreNoSource(t *testing.T) {
	w := &workshop{t: t, root: t.TempDir()}
	p := &program{root: w.root, sources: []string{"cmd"}}
	w.write("cmd/main.go", "package main")
	before, err := p.look()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"cmd/main_test.go": false, "cmd/.main.go.swp": false, "cmd/main.go~": false, "README.md": false,
		"cmd/pages/page.html": true, "cmd/other/other.go": true, "cmd/main.go": true,
	} {
		w.write(name, name)
		now, err := p.look()
		if err != nil {
			t.Fatal(err)
		}
		got := changed(before, now)
		if want && !slices.Equal(got, []string{name}) || !want && len(got) > 0 {
			t.Errorf("writing %s changes %q", name, got)
		}
		before = now
	}
	if err := os.Remove(filepath.Join(w.root, "cmd/main.go")); err != nil {
		t.Fatal(err)
	}
	now, err := p.look()
	if err != nil {
		t.Fatal(err)
	}
	if got := changed(before, now); !slices.Equal(got, []string{"cmd/main.go"}) {
		t.Errorf("removing a file changes %q", got)
	}
}
