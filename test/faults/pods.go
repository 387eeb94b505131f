package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// points are where a build with the tag faults can be told to die.
var points = []string{"before-claim", "after-claim", "after-send", "after-answer", "after-save", "after-publish"}

// fleet is the operator's pods and what they share.
type fleet struct {
	binary, kubeconfig, external string
	// control is the folder through which processes are told to die, and the time.
	control string
	log     *os.File
	pods    []*pod
	// ended is called before a process that ended is replaced, with what it held.
	ended func(ctx context.Context, p *pod, process string, killed bool)
}

// pod starts its process anew whenever it ends, as the kubelet does.
type pod struct {
	name             string
	callback, health string

	mu      sync.Mutex
	process *harness.Process
	// wanted is false while the pod is not to run.
	wanted, frozen bool
	starts         int
	stopped        chan struct{}
}

func newPod(name string) (*pod, error) {
	addresses, err := harness.FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	return &pod{name: name, callback: addresses[0], health: addresses[1]}, nil
}

// run keeps a pod's process running until the pod is stopped.
func (f *fleet) run(ctx context.Context, p *pod) {
	p.mu.Lock()
	p.wanted, p.stopped = true, make(chan struct{})
	p.mu.Unlock()
	go func() {
		defer close(p.stopped)
		for p.isWanted() && ctx.Err() == nil {
			if err := f.once(ctx, p); err != nil {
				harness.Stderr("pod %s: %v", p.name, err)
				time.Sleep(time.Second)
			}
		}
	}()
}

// once runs one process to its end.
func (f *fleet) once(ctx context.Context, p *pod) error {
	env := []string{"MCP_CONNECTION_FAULTS=" + f.control, "POD_UID=" + p.name}
	flags := append(harness.OperatorFlags(f.kubeconfig, f.external, p.callback, p.health),
		"--trusted-proxy-cidrs=127.0.0.0/8",
		"--leader-elect", "--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s",
		"--leader-elect-retry-period=500ms")
	process, err := harness.StartProcess(f.log, "", env, f.binary, flags...)
	if err != nil {
		return err
	}
	name := processOf(process.PID())
	p.mu.Lock()
	p.process, p.starts = process, p.starts+1
	p.mu.Unlock()
	f.ended(ctx, p, name, false) // tells the ledger whose it is
	select {
	case <-process.Exited():
	case <-ctx.Done():
		process.Kill()
		return nil
	}
	p.mu.Lock()
	p.process, p.frozen = nil, false
	p.mu.Unlock()
	err = process.Err()
	f.ended(ctx, p, name, wasKilled(err))
	if wasKilled(err) {
		return nil
	}
	return err
}

func wasKilled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func processOf(pid int) string { return "process/" + strconv.Itoa(pid) }

func (p *pod) isWanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted
}

// signal sends a signal to the process, if there is one.
func (p *pod) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		_ = syscall.Kill(p.process.PID(), s)
	}
}

func (p *pod) setFrozen(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
}

// current is the process of now; empty if there is none.
func (p *pod) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return ""
	}
	return processOf(p.process.PID())
}

// serves reports whether pages may be asked for.
func (p *pod) serves() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process != nil && !p.frozen
}

// stop ends a pod as Kubernetes does, and reports whether it took longer than a stop may.
func (p *pod) stop(within time.Duration) error {
	p.mu.Lock()
	p.wanted = false
	stopped := p.stopped
	p.mu.Unlock()
	if stopped == nil {
		return nil
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-stopped:
		return nil
	case <-time.After(within):
		p.signal(syscall.SIGKILL)
		<-stopped
		return fmt.Errorf("pod %s did not end within %s of SIGTERM", p.name, within)
	}
}

// arm has the next process that comes to a point killed or stopped there, and waits until one did. It returns the
// process.
func (f *fleet) arm(ctx context.Context, point, signal string) (string, error) {
	file := filepath.Join(f.control, point)
	if err := os.WriteFile(file, []byte(signal), 0o600); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file) }()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		fired, err := filepath.Glob(file + ".*")
		if err != nil {
			return "", err
		}
		if len(fired) > 0 {
			pid := strings.TrimPrefix(fired[0], file+".")
			return "process/" + pid, os.Remove(fired[0])
		}
		if err := harness.Pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("no process came to %s within a minute", point)
}

// setClock sets the clock of all processes.
func (f *fleet) setClock(by time.Duration) error {
	file := filepath.Join(f.control, "clock")
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(int(by/time.Second))), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// of finds the pod of a process.
func (f *fleet) of(process string) *pod {
	for _, p := range f.pods {
		if p.current() == process {
			return p
		}
	}
	return nil
}
