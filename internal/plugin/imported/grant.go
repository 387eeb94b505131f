package imported

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

const (
	// maxFile is more than any grant has.
	maxFile = 1 << 20
	// maxValue is the longest credential that the operator stores.
	maxValue = 16 << 10
)

// grant is what another tool keeps.
type grant struct {
	RefreshToken string `json:"refresh_token"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Issuer       string `json:"issuer"`
	ServerURL    string `json:"server_url"`
	// AuthMethod and SecretExpiresAt are of a client's registration (RFC 7591, section 3.2.1).
	AuthMethod      string  `json:"token_endpoint_auth_method"`
	SecretExpiresAt float64 `json:"client_secret_expires_at"`

	// origin says where the grant was found, for a person.
	origin string
	// notes are for the person: what else must be done.
	notes []string
}

// readJSON reads a bounded file; "-" is in. Its errors never repeat what the file holds.
func readJSON(ctx context.Context, path string, in io.Reader, into any) error {
	name := path
	if path == "-" {
		name = "stdin"
	} else {
		file, err := os.Open(path) //nolint:gosec // the person names the file
		if err != nil {
			return fmt.Errorf("read the grant: %w", err)
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	raw, err := readAll(ctx, in)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", name, err)
	case len(raw) > maxFile:
		return fmt.Errorf("%s is larger than 1 MiB: that is no grant", name)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		var mistyped *json.UnmarshalTypeError
		if errors.As(err, &mistyped) && mistyped.Field != "" {
			return fmt.Errorf("%s is no grant: its member %q has a type that does not fit", name, mistyped.Field)
		}
		return fmt.Errorf("%s is not a JSON object such as {\"refresh_token\": \"...\", \"client_id\": \"...\", "+
			"\"issuer\": \"...\"}", name)
	}
	return nil
}

// readAll reads no more than a grant has, and waits for it no longer than ctx lasts: nothing else ends a read of a
// terminal or a pipe.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	done := make(chan struct{})
	var read []byte
	var failed error
	go func() {
		defer close(done)
		read, failed = io.ReadAll(io.LimitReader(in, maxFile+1))
	}()
	select {
	case <-done:
		return read, failed
	case <-ctx.Done():
		return nil, kube.Interrupted(ctx)
	}
}

// fromFile reads a JSON grant.
func fromFile(ctx context.Context, path string, in io.Reader) (*grant, error) {
	g := &grant{origin: path}
	return g, readJSON(ctx, path, in, g)
}

// check refuses what the operator could not take over. The issuer may still be missing.
func (g *grant) check(now time.Time) error {
	for _, v := range []struct {
		name, value string
		required    bool
	}{{"refresh_token", g.RefreshToken, true}, {"client_id", g.ClientID, true}, {"client_secret", g.ClientSecret, false}} {
		switch {
		case v.value == "" && v.required:
			return fmt.Errorf("%s has no %s: there is nothing that the operator could go on with", g.origin, v.name)
		case len(v.value) > maxValue:
			return fmt.Errorf("the %s of %s is longer than 16 KiB, which the operator does not store", v.name, g.origin)
		case strings.TrimSpace(v.value) != v.value:
			return fmt.Errorf("the %s of %s begins or ends with white space: take it out", v.name, g.origin)
		}
	}
	if strings.ContainsFunc(g.ClientID, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("the client_id of %s is not printable ASCII: no authorization server gave it out", g.origin)
	}
	switch g.AuthMethod {
	case "", "none", "client_secret_basic", "client_secret_post":
	default:
		return fmt.Errorf("the client of %s authenticates by another token_endpoint_auth_method than none, "+
			"client_secret_basic and client_secret_post: the operator cannot take it over", g.origin)
	}
	if at := time.Unix(int64(g.SecretExpiresAt), 0); g.ClientSecret != "" && g.SecretExpiresAt > 0 && !now.Before(at) {
		return fmt.Errorf("the client secret of %s expired at %s: ask for a new consent with kubectl mcpc create", g.origin,
			at.UTC().Format(time.RFC3339))
	}
	return checkURL("server URL", g.ServerURL)
}

// checkURL wants an absolute http or https URL without user name and fragment. It does not repeat it, for it may hold a
// secret.
func checkURL(what, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return fmt.Errorf("the %s is missing: give it after the name, such as https://mcp.example.com/mcp", what)
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "":
		return fmt.Errorf("the %s is not a URL such as https://mcp.example.com/mcp", what)
	case u.User != nil || strings.Contains(raw, "#"):
		return fmt.Errorf("the %s holds a user name or a fragment: take it out", what)
	}
	return nil
}
