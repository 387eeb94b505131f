package mcpoauth

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// probeBody asks for something that a server protects if it protects anything; initialize may be open to everybody.
const probeBody = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// probeResult is what an MCP server says to somebody without a token.
type probeResult struct {
	// status of the answer.
	status int
	// contentType of its body, which is not read.
	contentType string
	// challenge of the WWW-Authenticate headers; zero without.
	challenge BearerChallenge
	// challenges are all of them.
	challenges []Challenge
}

// probe posts to the MCP server without a token and looks at status and headers only: the body may be an endless
// stream.
func (c *Client) probe(ctx context.Context, server *url.URL) (*probeResult, *Error) {
	ctx, cancel := c.withTimeout(ctx)
	// Ends the stream, if it is one.
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.String(), strings.NewReader(probeBody))
	if err != nil {
		return nil, misconfigured(InsecureURL, "serverURL %s is not a valid URL", showURL(server))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, networkError(err, "POST", server, ServerUnreachable)
	}
	defer resp.Body.Close()
	if mayHeal(resp.StatusCode) {
		return nil, c.statusError(resp, "POST", server)
	}
	challenges := ParseChallenges(resp.Header)
	challenge, _ := FindBearer(challenges)
	return &probeResult{status: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), challenge: challenge,
		challenges: challenges}, nil
}
