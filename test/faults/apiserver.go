package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// apiServer is the kube-apiserver of the control plane, which can be stopped and started again as it was.
type apiServer struct {
	args    []string
	pid     int
	process *harness.Process
}

// findAPIServer finds the process that serves a port (Linux only).
func findAPIServer(host string) (*apiServer, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, err
	}
	if u.Port() == "" {
		if u, err = url.Parse("https://" + host); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // gone
		}
		var args []string
		for arg := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte{0}), []byte{0}) {
			args = append(args, string(arg))
		}
		if filepath.Base(args[0]) != "kube-apiserver" || !slices.Contains(args, "--secure-port="+u.Port()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		return &apiServer{args: args, pid: pid}, err
	}
	return nil, fmt.Errorf("no kube-apiserver at port %s in /proc", u.Port())
}

// down stops it.
func (a *apiServer) down(ctx context.Context) error {
	if a.process != nil {
		process := a.process
		a.process = nil
		_ = process.Stop(20 * time.Second) // it may end with any code
		return nil
	}
	if err := syscall.Kill(a.pid, syscall.SIGTERM); err != nil {
		return err
	}
	for syscall.Kill(a.pid, 0) == nil {
		if err := harness.Pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// up starts it again.
func (a *apiServer) up() (err error) {
	a.process, err = harness.StartProcess(nil, "", nil, a.args[0], a.args[1:]...)
	return err
}

func (a *apiServer) end() {
	if a.process != nil {
		a.process.Kill()
	}
}
