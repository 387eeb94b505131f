package imported

import (
	"context"
	"crypto/md5" //nolint:gosec // mcp-remote names its files so
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mcpRemote says where mcp-remote keeps a grant: DIR/mcp-remote-<version or store layout>/<hash>_tokens.json, and
// beside it <hash>_client_info.json. Neither names the server; the hash is of the command line. Newer versions name the
// issuer.
type mcpRemote struct {
	dir string
	// serverURL, resource (--resource) and headers (--header) that mcp-remote runs with.
	serverURL, resource string
	headers             []string
	// clientInfo is the file of --static-oauth-client-info, which mcp-remote does not store.
	clientInfo string
}

// usualDir stands for where mcp-remote looks itself.
const usualDir = "~/.mcp-auth"

// defaultDir is where mcp-remote looks.
func defaultDir() string {
	if dir := os.Getenv("MCP_REMOTE_CONFIG_DIR"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".mcp-auth"
	}
	return filepath.Join(home, ".mcp-auth")
}

// hash names the files of one command line.
func (m *mcpRemote) hash() (string, error) {
	parts := []string{m.serverURL}
	if m.resource != "" {
		parts = append(parts, m.resource)
	}
	if len(m.headers) > 0 {
		text, err := headersJSON(m.headers)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	sum := md5.Sum([]byte(strings.Join(parts, "|"))) //nolint:gosec // mcp-remote names its files so
	return hex.EncodeToString(sum[:]), nil
}

// headersJSON is what JSON.stringify makes of the headers, by name.
func headersJSON(headers []string) (string, error) {
	byName := map[string]string{}
	for _, h := range headers {
		name, value, found := strings.Cut(h, ":")
		if !found {
			return "", errors.New("--header is not like 'Name: value'")
		}
		byName[name] = strings.TrimLeft(value, " \t")
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b) // sorts names
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(byName); err != nil {
		return "", errors.New("--header cannot be encoded")
	}
	return strings.TrimSpace(b.String()), nil
}

// read finds the grant. Of several stores, one for each version of mcp-remote, the one that was written last counts.
func (m *mcpRemote) read(ctx context.Context) (*grant, error) {
	hash, err := m.hash()
	if err != nil {
		return nil, err
	}
	found, err := m.find(hash + "_tokens.json")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no tokens of mcp-remote for that URL: spell it as its command line does, and give "+
			"--resource and --header if it has them", m.dir)
	}
	tokens, store := found[0], filepath.Dir(found[0])
	g := &grant{}
	if err := readJSON(ctx, tokens, nil, g); err != nil {
		return nil, err
	}
	kept := *g
	info := m.clientInfo
	if info == "" {
		info = filepath.Join(store, hash+"_client_info.json")
	}
	*g = grant{}
	if err := readJSON(ctx, info, nil, g); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("mcp-remote stored no client beside %s: give the file of its --static-oauth-client-info "+
			"with --client-info", tokens)
	} else if err != nil {
		return nil, err
	}
	if g.Issuer == "" || kept.Issuer == "" { // mcp-remote before 0.15 names none
		g.Issuer += kept.Issuer
	}
	if kept.Issuer != "" && g.Issuer != kept.Issuer {
		return nil, fmt.Errorf("%s and %s name different issuers: sign in with mcp-remote again", tokens, info)
	}
	g.RefreshToken, g.ServerURL, g.origin = kept.RefreshToken, m.serverURL, tokens
	g.notes = append(g.notes, "Stop mcp-remote for this server, for good, and remove "+filepath.Join(store, hash+"_*")+
		": whoever refreshes too ends the grant of both.")
	if len(found) > 1 {
		g.notes = append(g.notes, fmt.Sprintf("Of %d stores the newest was taken: %s", len(found), tokens))
	}
	if _, err := os.Stat(filepath.Join(store, hash+"_lock.json")); err == nil {
		g.notes = append(g.notes, "A lock file says that mcp-remote may be running now.")
	}
	return g, nil
}

// find lists the files of that name, the newest first.
func (m *mcpRemote) find(name string) ([]string, error) {
	stores, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of mcp-remote: %w", err)
	}
	type file struct {
		path string
		at   time.Time
	}
	var found []file
	for _, store := range stores {
		if !strings.HasPrefix(store.Name(), "mcp-remote-") {
			continue
		}
		path := filepath.Join(m.dir, store.Name(), name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			found = append(found, file{path, info.ModTime()})
		}
	}
	slices.SortStableFunc(found, func(a, b file) int { return b.at.Compare(a.at) })
	var paths []string
	for _, f := range found {
		paths = append(paths, f.path)
	}
	return paths, nil
}
