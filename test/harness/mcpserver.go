package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	mcpPath      = "/mcp"
	metadataPath = "/.well-known/oauth-protected-resource"
)

// MCPServer is an MCP server of the official Go SDK that wants a token.
// It has the tools whoami and add.
type MCPServer struct {
	// URL of the MCP endpoint, which is also its resource identifier.
	URL string

	listener net.Listener
	http     *http.Server
}

// MCPServerOptions say who issues tokens and who checks them.
type MCPServerOptions struct {
	// Name that the server gives itself.
	Name string
	// Issuer of its authorization server.
	Issuer string
	// Scopes that a token must have.
	Scopes []string
	// Verify checks a token; with DPoP also the proof that came with it.
	Verify auth.TokenVerifier
	// DPoP wants tokens that are bound to a key, and takes no others (RFC 9449).
	DPoP bool
}

// ListenMCPServer reserves an address, so that the authorization server can be told the resource first.
func ListenMCPServer() (*MCPServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &MCPServer{URL: "http://" + listener.Addr().String() + mcpPath, listener: listener}, nil
}

// Start serves, until Stop.
func (s *MCPServer) Start(o MCPServerOptions) {
	server := mcp.NewServer(&mcp.Implementation{Name: o.Name, Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Says whose token this is"}, whoami)
	mcp.AddTool(server, &mcp.Tool{Name: "add", Description: "Adds two numbers"}, add)
	base := s.URL[:len(s.URL)-len(mcpPath)]
	guard := auth.RequireBearerToken(o.Verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: base + metadataPath + mcpPath,
		Scopes:              o.Scopes,
	})
	mux := http.NewServeMux()
	mux.Handle(metadataPath+mcpPath, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:               s.URL,
		ResourceName:           o.Name,
		AuthorizationServers:   []string{o.Issuer},
		ScopesSupported:        o.Scopes,
		BearerMethodsSupported: []string{"header"},

		DPOPBoundAccessTokensRequired: o.DPoP,
	}))
	endpoint := guard(mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true},
	))
	if o.DPoP {
		endpoint = schemeDPoP(endpoint)
	}
	mux.Handle(mcpPath, endpoint)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(s.listener) }()
}

// TokensOf accepts the access tokens of an authorization server, all as one user's.
func TokensOf(s *oauthtest.Server, user string) auth.TokenVerifier {
	return func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		t, valid := s.FindAccessToken(token)
		if !valid {
			return nil, fmt.Errorf("%w: unknown, expired or revoked", auth.ErrInvalidToken)
		}
		return &auth.TokenInfo{Scopes: t.Scopes, Expiration: t.ExpiresAt, UserID: user}, nil
	}
}

// schemeDPoP takes the scheme DPoP in place of Bearer (RFC 9449, section 7.1), which is all that the SDK's guard knows.
func schemeDPoP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		r.Header.Del("Authorization")
		if strings.EqualFold(scheme, "DPoP") {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		next.ServeHTTP(w, r)
	})
}

// Stop closes the server and its connections.
func (s *MCPServer) Stop() {
	if s.http != nil {
		_ = s.http.Close()
	}
	_ = s.listener.Close()
}

// Nothing is the input of a tool without arguments.
type Nothing struct{}

// AddInput is the input of the tool add.
type AddInput struct {
	A int `json:"a"`
	B int `json:"b"`
}

func whoami(_ context.Context, request *mcp.CallToolRequest, _ Nothing) (*mcp.CallToolResult, any, error) {
	if request.Extra == nil || request.Extra.TokenInfo == nil {
		return nil, nil, errors.New("no token came with the call")
	}
	info := request.Extra.TokenInfo
	return textResult("you are %s, with scopes %v", info.UserID, info.Scopes), nil, nil
}

func add(_ context.Context, _ *mcp.CallToolRequest, in AddInput) (*mcp.CallToolResult, any, error) {
	return textResult("%d", in.A+in.B), nil, nil
}

func textResult(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}
