package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mcp-connection/operator/test/harness"
)

// event is one line of a server that reports what it is asked.
type event struct {
	Event string `json:"event"`
	addresses
	GrantType string            `json:"grant_type"`
	Secrets   map[string]string `json:"secrets"`

	ClientID   string `json:"client_id"`
	AuthMethod string `json:"auth_method"`
}

// addresses is where a server listens.
type addresses struct {
	Issuer                string `json:"issuer"`
	Resource              string `json:"resource"`
	TokenEndpoint         string `json:"token_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
}

// events collects a server's output; it is an io.Writer for a child process.
type events struct {
	mu      sync.Mutex
	raw     bytes.Buffer // everything but what holds secrets
	partial []byte
	list    []event
}

func newEvents() *events { return &events{} }

// Write implements io.Writer.
func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.partial = append(e.partial, p...)
	for {
		line, rest, found := bytes.Cut(e.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		var parsed event
		if json.Unmarshal(line, &parsed) == nil && parsed.Event != "" {
			e.list = append(e.list, parsed)
		}
		if len(parsed.Secrets) == 0 {
			fmt.Fprintf(&e.raw, "%s\n", line)
		} else {
			fmt.Fprintf(&e.raw, "%s %s\n", parsed.Event, parsed.GrantType)
		}
		e.partial = rest
	}
}

// text is what the server printed, without secrets.
func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.raw.String()
}

// add notes what another server saw.
func (e *events) add(seen event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, seen)
}

func (e *events) all() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]event(nil), e.list...)
}

// waitUntilListening waits until the server says where it listens.
func (e *events) waitUntilListening(ctx context.Context, process *harness.Process) (at addresses, err error) {
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		for _, event := range e.all() {
			if event.Event == "listening" {
				at = event.addresses
				return true, nil
			}
		}
		select {
		case <-process.Exited():
			return false, errors.New("it ended")
		default:
			return false, nil
		}
	})
	if err != nil {
		return addresses{}, fmt.Errorf("the server did not start: %w: %s", err, e.text())
	}
	return at, nil
}

// counts are requests as the authorization server saw them.
type counts struct {
	Registrations, Updates, Unregistrations, Documents, Codes, Refreshes, Rotations, Revocations, Errors int
	// Requests for tokens without a person.
	Requests int
	// AuthMethods counts successful token requests by how the client authenticated.
	AuthMethods map[string]int
}

// jwtBearer is a grant_type (RFC 7523, section 2.1).
const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// counts says what the server was asked.
func (e *events) counts() counts {
	c := counts{AuthMethods: map[string]int{}}
	refreshToken := ""
	for _, event := range e.all() {
		switch event.Event {
		case "registered":
			c.Registrations++
		case "updated":
			c.Updates++
		case "unregistered":
			c.Unregistrations++
		case "fetched":
			c.Documents++
		case "revoked":
			c.Revocations++
		case "error":
			c.Errors++
		case "granted":
			c.AuthMethods[event.AuthMethod]++
			issued := event.Secrets["refresh_token"]
			switch event.GrantType {
			case "authorization_code":
				c.Codes++
			case "client_credentials", jwtBearer:
				c.Requests++
			case "refresh_token":
				c.Refreshes++
				if issued != "" && issued != refreshToken {
					c.Rotations++
				}
			}
			if issued != "" {
				refreshToken = issued
			}
		}
	}
	return c
}

// secrets are all secret values, by a name that may be printed.
func (e *events) secrets() map[string]string {
	values := map[string]string{}
	for i, event := range e.all() {
		for kind, value := range event.Secrets {
			if value != "" {
				values[fmt.Sprintf("%s of event %d", strings.ReplaceAll(kind, "_", " "), i+1)] = value
			}
		}
	}
	return values
}

// secret is the newest secret value of a kind.
func (e *events) secret(kind string) (newest string) {
	for _, event := range e.all() {
		if value := event.Secrets[kind]; value != "" {
			newest = value
		}
	}
	return newest
}

// registration is the newest registered client.
func (e *events) registration() (newest registration) {
	for _, event := range e.all() {
		if event.Event == "registered" {
			newest = registration{ClientID: event.ClientID, AuthMethod: event.AuthMethod, Secret: event.Secrets["client_secret"]}
		}
	}
	return newest
}
