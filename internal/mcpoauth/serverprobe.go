package mcpoauth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// maxToolPages and maxTools bound how long a server is listened to.
	maxToolPages = 10
	maxTools     = 1000
	// maxServerName is what is kept of the texts by which a server names itself.
	maxServerName = 200
)

// ServerProbe says which MCP server is tried, and with what.
type ServerProbe struct {
	ServerURL string
	// AccessToken is sent with every request; empty: none is, the server needs no authorization.
	AccessToken string
	// DPoP is the key that the token is bound to (RFC 9449); nil: it is a bearer token (RFC 6750).
	DPoP *DPoPKey
}

// ServerInfo is what an MCP server said of itself.
type ServerInfo struct {
	// Name and Version that the server gives itself; empty if it does not.
	Name, Version string
	// ProtocolVersion that was spoken.
	ProtocolVersion string
	// Tools is how many it offers to this token; counting ends at 1000.
	Tools int32
}

// ProbeServer connects to an MCP server as a workload would and lists its tools, whatever kind of server it is: with
// sessions (2025-11-25 and before) or without (2026-07-28). All of that together takes no longer than one request may.
//
// A refused token is ProbeUnauthorized, missing scopes are InsufficientScope (both Rejected, with the Challenge);
// everything else says nothing of the token: ServerUnreachable, or what stopped a request from being sent.
func (c *Client) ProbeServer(ctx context.Context, p ServerProbe) (*ServerInfo, error) {
	u, e := c.parseURL(p.ServerURL, "serverURL", InsecureURL)
	if e != nil {
		return nil, e
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	t := &probeTransport{client: c, ctx: ctx, cancel: cancel, url: u, probe: p, left: maxBody, requests: maxProbeRequests}
	info, err := listTools(ctx, u.String(), c.o.UserAgent, t)
	if err != nil {
		return nil, t.explain(err)
	}
	for _, text := range []*string{&info.Name, &info.Version, &info.ProtocolVersion} {
		*text = cover(*text, []string{p.AccessToken})
	}
	return info, nil
}

// listTools speaks MCP. The session is always closed: a server with sessions is told to forget it.
func listTools(ctx context.Context, endpoint, userAgent string, t http.RoundTripper) (*ServerInfo, error) {
	name, version, _ := strings.Cut(userAgent, "/")
	// Nothing is offered to the server: it may ask for nothing in return.
	client := mcp.NewClient(&mcp.Implementation{Name: name, Version: version}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{}, MultiRoundTrip: &mcp.MultiRoundTripOptions{Disabled: true},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: endpoint,
		HTTPClient: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
		DisableStandaloneSSE: true,
		MaxRetries:           -1,
		MaxEventSize:         maxBody,
	}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = session.Close() }() // all has been said
	info := &ServerInfo{}
	if said := session.InitializeResult(); said != nil {
		info.ProtocolVersion = Sanitize(said.ProtocolVersion, maxServerName)
		if said.ServerInfo != nil {
			info.Name, info.Version = Sanitize(said.ServerInfo.Name, maxServerName), Sanitize(said.ServerInfo.Version, maxServerName)
		}
	}
	info.Tools, err = countTools(ctx, session)
	return info, err
}

// countTools counts each name once, and ends where a cursor was before: some servers send the same page for ever.
func countTools(ctx context.Context, session *mcp.ClientSession) (int32, error) {
	cursor, cursors, names := "", map[string]bool{}, map[string]bool{}
	for range maxToolPages {
		cursors[cursor] = true
		page, err := session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if isMethodNotFound(err) { // a server without tools
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		for _, tool := range page.Tools {
			if tool != nil && len(names) < maxTools {
				names[tool.Name] = true
			}
		}
		if cursor = page.NextCursor; cursors[cursor] || len(names) >= maxTools { // the first page's cursor is ""
			break
		}
	}
	return int32(min(len(names), maxTools)), nil // #nosec G115 -- maxTools fits
}

func isMethodNotFound(err error) bool {
	var answer *jsonrpc.Error
	return errors.As(err, &answer) && answer.Code == jsonrpc.CodeMethodNotFound
}
