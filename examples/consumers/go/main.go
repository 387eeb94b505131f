// An agent that lists the tools of an MCP server now and then, with the official Go SDK.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run reads MCP_SERVER_URL, MCP_TOKEN_DIR and INTERVAL; WATCH=1 takes the watching transport.
func run(ctx context.Context) error {
	interval, err := time.ParseDuration(os.Getenv("INTERVAL"))
	if err != nil {
		return err
	}
	server, err := url.Parse(os.Getenv("MCP_SERVER_URL"))
	if err != nil {
		return err
	}
	var transport http.RoundTripper = &FileToken{Server: server, Dir: os.Getenv("MCP_TOKEN_DIR")}
	if os.Getenv("WATCH") != "" {
		watched, err := WatchToken(server, os.Getenv("MCP_TOKEN_DIR"))
		if err != nil {
			return err
		}
		defer func() { _ = watched.Close() }()
		transport = watched
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   server.String(),
		HTTPClient: &http.Client{Transport: transport},
	}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	for ticks := time.Tick(interval); ; {
		if _, err := session.ListTools(ctx, nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}
