package mcpoauth

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

const (
	// maxToolPages and maxTools bound how long a server is listened to.
	maxToolPages = 10
	maxTools     = 1000
	// maxLooked bounds how many are looked at, of which some may have one name.
	maxLooked = 4 * maxTools
	// maxServerName is what is kept of the texts by which a server names itself.
	maxServerName = 200
	// maxCursor in bytes is what is sent back of a server's cursor.
	maxCursor = 4 << 10
	// endTimeout of the request that ends a session.
	endTimeout = 5 * time.Second
)

const (
	// statelessVersion of MCP knows no sessions.
	statelessVersion = "2026-07-28"
	// sessionVersion is the one before, which a server is greeted with if it does not know that.
	sessionVersion = "2025-11-25"

	methodDiscover   = "server/discover"
	methodInitialize = "initialize"
	methodListTools  = "tools/list"
)

// sessionVersions are those a server may choose when it is greeted.
var sessionVersions = []string{sessionVersion, "2025-06-18", "2025-03-26", "2024-11-05"}

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
	// ToolsAtLeast says that counting ended before the list did: at 1000, after ten pages, or where an answer was too
	// large.
	ToolsAtLeast bool
}

// ProbeServer connects to an MCP server as a workload would and counts its tools, whatever kind of server it is: with
// sessions (2025-11-25 and before) or without (2026-07-28). All of that together takes no longer than one request may,
// answers are counted while they are read, and 256 KiB are read of each. A list of tools that is larger is an answer:
// the token was accepted.
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
	x := &exchange{client: c, url: u, probe: p, left: maxBody, requests: maxProbeRequests, names: map[uint64]bool{},
		seed: maphash.MakeSeed()}
	err := x.greet(ctx)
	if err == nil {
		err = x.countTools(ctx)
	}
	x.end(ctx)
	if err != nil {
		return nil, x.explain(ctx, err)
	}
	for _, text := range []*string{&x.info.Name, &x.info.Version} {
		*text = cover(Sanitize(*text, maxServerName), []string{p.AccessToken})
	}
	x.info.Tools = int32(min(len(x.names), maxTools)) // #nosec G115 -- maxTools fits
	return &x.info, nil
}

// implementation is how the two sides name themselves.
type implementation struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// parameters of all that a probe asks. Nothing is offered to the server: it may ask for nothing in return.
type parameters struct {
	// Meta of every request without a session.
	Meta *requestMeta `json:"_meta,omitempty"`
	// The next three are of initialize.
	ProtocolVersion string          `json:"protocolVersion,omitempty"`
	Capabilities    *struct{}       `json:"capabilities,omitempty"`
	ClientInfo      *implementation `json:"clientInfo,omitempty"`
	Cursor          string          `json:"cursor,omitempty"`
}

type requestMeta struct {
	ProtocolVersion    string         `json:"io.modelcontextprotocol/protocolVersion"`
	ClientInfo         implementation `json:"io.modelcontextprotocol/clientInfo"`
	ClientCapabilities struct{}       `json:"io.modelcontextprotocol/clientCapabilities"`
}

func (x *exchange) self() implementation {
	name, version, _ := strings.Cut(x.client.o.UserAgent, "/")
	return implementation{Name: name, Version: version}
}

// meta is nil once it is known that the server has sessions.
func (x *exchange) meta() *requestMeta {
	if x.info.ProtocolVersion != statelessVersion {
		return nil
	}
	return &requestMeta{ProtocolVersion: statelessVersion, ClientInfo: x.self()}
}

// greet finds out which version of MCP the server speaks. Servers before 2026-07-28 answer the first request with
// whatever they have for one that they do not know; then a session is begun.
func (x *exchange) greet(ctx context.Context) error {
	x.info.ProtocolVersion = statelessVersion
	known := false
	err := x.call(ctx, methodDiscover, parameters{Meta: x.meta()}, func(dec *json.Decoder) error {
		return x.readDiscovery(dec, &known)
	})
	if known && (err == nil || errors.Is(err, errTooLarge)) {
		return nil
	}
	if x.over(ctx) {
		return err
	}
	x.info = ServerInfo{}
	self := x.self()
	err = x.call(ctx, methodInitialize, parameters{ProtocolVersion: sessionVersion, Capabilities: &struct{}{},
		ClientInfo: &self}, x.readGreeting)
	switch {
	case slices.Contains(sessionVersions, x.info.ProtocolVersion) && (err == nil || errors.Is(err, errTooLarge)):
		return x.notify(ctx, "notifications/initialized")
	case err == nil:
		return errNotMCP
	}
	return err
}

// readDiscovery reads the result of server/discover.
func (x *exchange) readDiscovery(dec *json.Decoder, known *bool) error {
	return eachMember(dec, func(name string) error {
		switch name {
		case "supportedVersions":
			return eachElement(dec, func() error {
				var version string
				err := decodeValue(dec, &version)
				*known = *known || version == statelessVersion
				return err
			})
		case "_meta":
			var meta struct {
				ServerInfo implementation `json:"io.modelcontextprotocol/serverInfo"`
			}
			err := decodeValue(dec, &meta)
			x.info.Name, x.info.Version = meta.ServerInfo.Name, meta.ServerInfo.Version
			return err
		}
		return skipValue(dec)
	})
}

// readGreeting reads the result of initialize.
func (x *exchange) readGreeting(dec *json.Decoder) error {
	return eachMember(dec, func(name string) error {
		switch name {
		case "protocolVersion":
			return decodeValue(dec, &x.info.ProtocolVersion)
		case "serverInfo":
			var server implementation
			err := decodeValue(dec, &server)
			x.info.Name, x.info.Version = server.Name, server.Version
			return err
		}
		return skipValue(dec)
	})
}

// countTools counts each name once, and ends where a cursor was before: some servers send the same page for ever.
func (x *exchange) countTools(ctx context.Context) error {
	cursor, cursors := "", map[string]bool{}
	for range maxToolPages {
		cursors[cursor] = true
		next, err := x.page(ctx, cursor)
		var answer *rpcError
		switch {
		case errors.As(err, &answer) && answer.code == methodNotFound: // a server without tools
			return nil
		case errors.Is(err, errTooLarge), errors.Is(err, errEnough), err == nil && len(next) > maxCursor:
			x.info.ToolsAtLeast = true
			return nil
		case err != nil:
			return err
		case cursors[next]: // the first page's cursor is ""
			return nil
		}
		cursor = next
	}
	x.info.ToolsAtLeast = true
	return nil
}

// page counts the tools of one page and returns the cursor of the next.
func (x *exchange) page(ctx context.Context, cursor string) (next string, err error) {
	err = x.call(ctx, methodListTools, parameters{Meta: x.meta(), Cursor: cursor}, x.readTools(&next))
	return next, err
}

// readTools reads the result of tools/list.
func (x *exchange) readTools(next *string) func(*json.Decoder) error {
	return func(dec *json.Decoder) error {
		return eachMember(dec, func(name string) error {
			switch name {
			case "tools":
				return eachElement(dec, func() error { return x.countTool(dec) })
			case "nextCursor":
				return decodeValue(dec, next)
			}
			return skipValue(dec)
		})
	}
}

// countTool keeps no name: what would be kept is a stranger's to choose.
func (x *exchange) countTool(dec *json.Decoder) error {
	if x.looked++; len(x.names) >= maxTools || x.looked > maxLooked {
		return errEnough
	}
	var tool *struct {
		Name string `json:"name"`
	}
	if err := decodeValue(dec, &tool); err != nil || tool == nil {
		return err
	}
	x.names[maphash.String(x.seed, tool.Name)] = true
	return nil
}
