package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// browse names, in the environment of this program, what it does instead of testing: open a link as a person would.
const browse = "MCPC_TEST_BROWSE"

// live is the stage that all tests share.
var live *stage

func TestMain(m *testing.M) {
	if os.Getenv(browse) != "" {
		os.Exit(consent(os.Args[1]))
	}
	code := m.Run()
	if live != nil {
		if err := live.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// consent opens a link and agrees.
func consent(link string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := harness.NewBrowser().Consent(ctx, link, harness.Consent{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

var startOnce = sync.OnceValue(func() (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	live, err = start(context.Background(), browse+`=1 exec "`+self+`" "$1"`, harness.Silent)
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
