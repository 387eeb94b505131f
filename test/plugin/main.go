// Command plugin writes what a program can write of the page about kubectl mcpc: the help of every verb, and a session
// that it records on a real API server with a live operator. Its tests call the plugin through the real kubectl.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// browse names, in the environment of this program, what it does instead: open a link as a person would.
const browse = "MCPC_TEST_BROWSE"

func main() {
	if os.Getenv(browse) != "" {
		os.Exit(consent(os.Args[1]))
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if err := write("verbs", help()); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := start(ctx, opener(self), func(format string, arguments ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	text, err := record(ctx, s)
	if err != nil {
		return err
	}
	fmt.Print(text)
	return write("session", text)
}

// opener is what a shell does with a link: it runs this program as a browser.
func opener(self string) string { return browse + `=1 exec "` + self + `" "$1"` }

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
