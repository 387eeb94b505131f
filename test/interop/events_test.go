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
	Event     string            `json:"event"`
	Issuer    string            `json:"issuer"`
	GrantType string            `json:"grant_type"`
	Secrets   map[string]string `json:"secrets"`

	ClientID   string `json:"client_id"`
	AuthMethod string `json:"auth_method"`
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

func (e *events) all() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]event(nil), e.list...)
}

// waitForIssuer waits until the server listens.
func (e *events) waitForIssuer(ctx context.Context, process *harness.Process) (issuer string, err error) {
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		for _, event := range e.all() {
			if event.Event == "listening" {
				issuer = event.Issuer
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
		return "", fmt.Errorf("the authorization server did not start: %w: %s", err, e.text())
	}
	return issuer, nil
}

// counts says what the server was asked.
func (e *events) counts() counts {
	var c counts
	for _, event := range e.all() {
		switch {
		case event.Event == "registered":
			c.Registrations++
		case event.Event == "granted" && event.GrantType == "authorization_code":
			c.Codes++
		case event.Event == "granted" && event.GrantType == "refresh_token":
			c.Refreshes++
		case event.Event == "revoked":
			c.Revocations++
		case event.Event == "error":
			c.Errors++
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

// lastTokens are the newest access and refresh token.
func (e *events) lastTokens() (access, refresh string) {
	for _, event := range e.all() {
		if value := event.Secrets["access_token"]; value != "" {
			access = value
		}
		if value := event.Secrets["refresh_token"]; value != "" {
			refresh = value
		}
	}
	return access, refresh
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
