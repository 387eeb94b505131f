package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

const (
	// interval is how often the source is looked at.
	interval = 500 * time.Millisecond
	// grace is how long the program may take to end: longer than the operator waits for answers of servers.
	grace = time.Minute
)

// program is built from source, runs, and gives way to its successor when the source has changed.
type program struct {
	// root is the folder of its module, pkg what is built there, sources the files and folders that are watched.
	root    string
	pkg     string
	sources []string
	// binary is the file that is run.
	binary string
	// arguments of each run.
	arguments func(context.Context) ([]string, error)
	// out gets what it prints, logf what is told about it.
	out  io.Writer
	logf harness.Logf

	// process is nil while none runs.
	process *harness.Process
}

// version tells a file from what it was before.
type version struct{ size, modified int64 }

// follow keeps the program running as its source is, until ctx ends, and then ends it.
func (p *program) follow(ctx context.Context) error {
	defer p.stop()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var built, before map[string]version
	for {
		now, err := p.look()
		if err != nil {
			return err
		}
		if maps.Equal(now, before) && !maps.Equal(now, built) { // whoever writes has finished
			if built != nil {
				p.logf("changed: %s", strings.Join(changed(built, now), ", "))
			}
			built = now
			if err := p.renew(ctx); err != nil {
				return err
			}
		}
		before = now
		select {
		case <-ctx.Done():
			return nil
		case <-p.exited():
			p.logf("the program ended by itself (%s), and starts again after the next change", ending(p.process))
			p.process = nil
		case <-ticker.C:
		}
	}
}

// look finds the versions of all files that may be compiled in: tests, and what editors hide, are left out.
func (p *program) look() (map[string]version, error) {
	found := map[string]version{}
	for _, source := range p.sources {
		err := filepath.WalkDir(filepath.Join(p.root, source), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || ignored(entry.Name()) {
				return gone(err)
			}
			info, err := entry.Info()
			if err != nil {
				return gone(err)
			}
			name, err := filepath.Rel(p.root, path)
			found[name] = version{size: info.Size(), modified: info.ModTime().UnixNano()}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("watch the source: %w", err)
		}
	}
	return found, nil
}

func ignored(name string) bool {
	return strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")
}

// gone forgives files that vanish while they are looked for.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// changed names the files that are new, differ or are gone.
func changed(before, now map[string]version) []string {
	names := map[string]bool{}
	for name, v := range now {
		names[name] = before[name] != v
	}
	for name := range before {
		if _, is := now[name]; !is {
			names[name] = true
		}
	}
	maps.DeleteFunc(names, func(_ string, differs bool) bool { return !differs })
	return slices.Sorted(maps.Keys(names))
}

// renew builds the program and starts it in place of the one that runs. What does not build leaves that one running.
func (p *program) renew(ctx context.Context) error {
	p.logf("building")
	began, built := time.Now(), p.binary+".new"
	build := exec.CommandContext(ctx, "go", "build", "-o", built, p.pkg)
	build.Dir = p.root
	build.Cancel = func() error { return build.Process.Signal(os.Interrupt) } // it ends its compilers
	build.WaitDelay = grace
	if out, err := build.CombinedOutput(); err != nil {
		p.failed(ctx, out, err)
		return nil
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	p.stop()
	if ctx.Err() != nil {
		return nil
	}
	if err := os.Rename(built, p.binary); err != nil {
		return err
	}
	arguments, err := p.arguments(ctx)
	if err != nil {
		return err
	}
	if p.process, err = harness.StartProcess(p.out, "", nil, p.binary, arguments...); err != nil {
		return err
	}
	p.logf("built in %s, and started as process %d", took, p.process.PID())
	return nil
}

// failed says why there is no new program.
func (p *program) failed(ctx context.Context, out []byte, err error) {
	if ctx.Err() != nil {
		return
	}
	running := "nothing runs"
	if p.process != nil {
		running = fmt.Sprintf("process %d goes on", p.process.PID())
	}
	p.logf("it does not build (%v), so %s:\n%s", err, running, strings.TrimSpace(string(out)))
}

// exited is closed once the program has ended; nil while none runs.
func (p *program) exited() <-chan struct{} {
	if p.process == nil {
		return nil
	}
	return p.process.Exited()
}

// ending says how a process that has ended did so.
func ending(process *harness.Process) string {
	if err := process.Err(); err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// stop ends the program, if it runs.
func (p *program) stop() {
	if p.process == nil {
		return
	}
	if err := p.process.Stop(grace); err != nil {
		p.logf("the program did not end cleanly: %v", err)
	}
	p.process = nil
}
