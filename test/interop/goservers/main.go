// Goservers runs one authorization server that was written by others in Go, for one MCP server and one client that was
// registered by hand, or one workload that a cluster vouches for. It has a module of its own, so that the operator's
// needs nothing of theirs.
//
// Like the scripts beside it, it prints one JSON object per line: first {event: "listening", issuer}, then what
// happens, with the secret values that were exchanged, so that the test can count requests and look for these values
// where they must not be.
//
// Argument: zitadel or fosite. Environment: RESOURCE (the MCP server's URL), SCOPE, TOKEN_SECONDS,
// INTROSPECTION_SECRET, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI; fosite also WORKLOAD_ISSUER, WORKLOAD_SUBJECT,
// WORKLOAD_KEYS (a JWK set): whose assertions it trusts.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// settings are what both servers are told.
type settings struct {
	issuer, resource, scope          string
	tokenLife                        time.Duration
	clientID, clientSecret, redirect string
	introspectionSecret              string
	workload                         workload
}

// workload is whose assertions are trusted (RFC 7523).
type workload struct{ issuer, subject, keys string }

// mcpServer is the client_id of the MCP server, which asks about tokens and can do nothing else.
const mcpServer = "mcp-server"

// authorizationServer is one of the servers, ready to serve.
type authorizationServer struct {
	http.Handler
	token, introspection string // paths
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	makers := map[string]func(settings) (*authorizationServer, error){"zitadel": newZitadel, "fosite": newFosite}
	if len(os.Args) != 2 || makers[os.Args[1]] == nil {
		return fmt.Errorf("usage: %s zitadel|fosite", os.Args[0])
	}
	seconds, err := strconv.Atoi(os.Getenv("TOKEN_SECONDS"))
	if err != nil {
		return fmt.Errorf("TOKEN_SECONDS: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := settings{
		issuer: "http://" + listener.Addr().String(), resource: os.Getenv("RESOURCE"), scope: os.Getenv("SCOPE"),
		tokenLife: time.Duration(seconds) * time.Second,
		clientID:  os.Getenv("CLIENT_ID"), clientSecret: os.Getenv("CLIENT_SECRET"), redirect: os.Getenv("REDIRECT_URI"),
		introspectionSecret: os.Getenv("INTROSPECTION_SECRET"),
		workload: workload{os.Getenv("WORKLOAD_ISSUER"), os.Getenv("WORKLOAD_SUBJECT"),
			os.Getenv("WORKLOAD_KEYS")},
	}
	server, err := makers[os.Args[1]](s)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: observe(server.token, server), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = web.Close() })
	report(event{
		"event": "listening", "issuer": s.issuer, "resource": s.resource,
		"token_endpoint": s.issuer + server.token, "introspection_endpoint": s.issuer + server.introspection,
	})
	if err := web.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// random is a new secret.
func random() string { return rand.Text() + rand.Text() }
