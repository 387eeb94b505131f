package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/mcp-connection/operator/test/harness"
)

// live is the stage that all tests share.
var live *stage

func TestMain(m *testing.M) {
	if os.Getenv(browse) != "" {
		os.Exit(consent(os.Args[1]))
	}
	// Started with nohup, the commands would ignore it as this process does.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	code := m.Run()
	if live != nil {
		if err := live.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

var startOnce = sync.OnceValue(func() (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	live, err = start(context.Background(), opener(self), harness.Silent)
	return err
})

// onStage starts the stage for the first test that wants it.
func onStage(t *testing.T) *stage {
	t.Helper()
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	return live
}

// want checks how a command ended.
func (r result) want(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	return r
}
