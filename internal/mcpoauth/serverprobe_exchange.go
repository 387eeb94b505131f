package mcpoauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// maxProbeBody is what is read of one answer to a probe.
	maxProbeBody = 256 << 10
	// maxProbeRequests bounds what one probe sends, and what the server may ask for meanwhile.
	maxProbeRequests = 24
	// lingerTimeout is for an answer that does not end after all was said.
	lingerTimeout = 100 * time.Millisecond
)

var (
	errProbeOver = errors.New("the probe is over")
	errNotMCP    = errors.New("that is not MCP")
)

// exchange is one probe: requests with the token, one after the other, under the rules of this package and within
// bounds that hold for all of them together (MCP 2025-11-25 and 2026-07-28, Streamable HTTP).
type exchange struct {
	client *Client
	url    *url.URL
	probe  ServerProbe
	// info is what the server said so far. Its ProtocolVersion goes with every request; empty before it is known.
	info ServerInfo
	// names of tools that were counted, as hashes, of those that were looked at.
	names  map[uint64]bool
	seed   maphash.Seed
	looked int

	// session that the server began; empty: none.
	session string
	// lastID of a request.
	lastID int
	// left is how much may still be read, of all answers.
	left int
	// requests that may still be sent or received; negative once the server asked for more.
	requests int
	// refusal of the token ends the probe.
	refusal *Error
}

// over reports whether the server gets no further request.
func (x *exchange) over(ctx context.Context) bool {
	return x.refusal != nil || x.requests < 0 || ctx.Err() != nil
}

// request of JSON-RPC 2.0; a notification has no ID.
type request struct {
	Version string      `json:"jsonrpc"`
	ID      int         `json:"id,omitempty"`
	Method  string      `json:"method"`
	Params  *parameters `json:"params,omitempty"`
}

// call sends a request and has the result read from the stream. Errors: *Error, *rpcError, errTooLarge if the answer
// was cut, errNotMCP, and those of read.
func (x *exchange) call(ctx context.Context, method string, params parameters, read func(*json.Decoder) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.lastID++
	resp, err := x.post(ctx, request{Version: "2.0", ID: x.lastID, Method: method, Params: &params})
	if err != nil {
		return err
	}
	defer leave(resp, cancel)
	if method == methodInitialize {
		x.session = resp.Header.Get("Mcp-Session-Id")
	}
	trouble := x.judge(resp)
	if trouble == nil {
		return x.readAnswer(resp, read)
	}
	var answer *rpcError
	// A server without sessions says so that it does not know the method.
	if (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest) &&
		errors.As(x.readAnswer(resp, read), &answer) {
		answer.trouble = trouble
		return answer
	}
	return trouble
}

// notify sends what has no answer.
func (x *exchange) notify(ctx context.Context, method string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := x.post(ctx, request{Version: "2.0", Method: method})
	if err != nil {
		return err
	}
	defer leave(resp, cancel)
	if e := x.judge(resp); e != nil && resp.StatusCode >= 300 {
		return e
	}
	return nil
}

// leave keeps the connection for the next request where the answer ends soon. An event stream need not end.
func leave(resp *http.Response, cancel context.CancelFunc) {
	timer := time.AfterFunc(lingerTimeout, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}

// end has a server with sessions forget this one. Some do not know how; all has been said anyway.
func (x *exchange) end(ctx context.Context) {
	if x.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if resp, err := x.send(ctx, http.MethodDelete, "", nil); err == nil {
		_ = resp.Body.Close()
	}
}

func (x *exchange) post(ctx context.Context, r request) (*http.Response, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, errNotMCP
	}
	if x.over(ctx) {
		return nil, errProbeOver
	}
	return x.send(ctx, http.MethodPost, r.Method, body)
}

// send sends a request, and once more where the server wants another nonce in the proof (RFC 9449, section 9).
func (x *exchange) send(ctx context.Context, httpMethod, method string, body []byte) (*http.Response, error) {
	resp, sent, err := x.sendOnce(ctx, httpMethod, method, body, "")
	if err != nil || x.probe.DPoP == nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	nonce := resp.Header.Get("DPoP-Nonce")
	if nonce == "" || nonce == sent {
		return resp, nil
	}
	_ = resp.Body.Close()
	resp, _, err = x.sendOnce(ctx, httpMethod, method, body, nonce)
	return resp, err
}

// sendOnce sends a request with a proof of its own, and returns the nonce in it.
func (x *exchange) sendOnce(ctx context.Context, httpMethod, method string, body []byte,
	nonce string) (*http.Response, string, error) {
	if x.requests--; x.requests < 0 {
		return nil, "", errProbeOver
	}
	req, err := http.NewRequestWithContext(ctx, httpMethod, x.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, "", misconfigured(InsecureURL, "serverURL %s is not a valid URL", showURL(x.url))
	}
	x.describe(req.Header, method)
	sent, e := x.authorize(req, nonce)
	if e != nil {
		return nil, "", e
	}
	resp, err := x.client.roundTrip(req)
	if err != nil {
		return nil, "", networkError(err, httpMethod, x.url, ServerUnreachable)
	}
	x.client.nonces.put(x.nonceKey(), resp.Header.Get("DPoP-Nonce"))
	return resp, sent, nil
}

// describe sets the headers of the Streamable HTTP transport. method is of JSON-RPC; empty: there is none.
func (x *exchange) describe(h http.Header, method string) {
	if method != "" {
		h.Set("Content-Type", "application/json")
		h.Set("Accept", "application/json, text/event-stream")
	}
	if x.info.ProtocolVersion != "" {
		h.Set("Mcp-Protocol-Version", x.info.ProtocolVersion)
	}
	if x.info.ProtocolVersion == statelessVersion && method != "" {
		h.Set("Mcp-Method", method)
	}
	if x.session != "" {
		h.Set("Mcp-Session-Id", x.session)
	}
}

// authorize puts the token into a request: a token that is bound to a key never goes out as a bearer token.
func (x *exchange) authorize(req *http.Request, nonce string) (string, *Error) {
	switch {
	case x.probe.AccessToken == "":
		return "", nil
	case x.probe.DPoP == nil:
		req.Header.Set("Authorization", "Bearer "+x.probe.AccessToken)
		return "", nil
	}
	if nonce == "" {
		nonce = x.client.nonces.get(x.nonceKey())
	}
	proof, err := x.probe.DPoP.Prove(DPoPProof{Method: req.Method, URL: req.URL, AccessToken: x.probe.AccessToken,
		Nonce: nonce}, x.client.o.Now())
	if err != nil {
		return "", misconfigured(InvalidMetadata, "%s %s was not sent: the DPoP key does not sign", req.Method,
			showURL(x.url))
	}
	req.Header.Set("Authorization", "DPoP "+x.probe.AccessToken)
	req.Header.Set("DPoP", proof)
	return nonce, nil
}

// nonceKey keeps the nonces of an MCP server apart from those of an authorization server at the same origin.
func (x *exchange) nonceKey() string { return "resource " + origin(x.url) }

// judge says what is wrong with an answer; nil if nothing is, as far as its header tells.
func (x *exchange) judge(resp *http.Response) *Error {
	bearer, _ := FindBearer(ParseChallenges(resp.Header))
	status, contentType := resp.StatusCode, resp.Header.Get("Content-Type")
	switch {
	case status == http.StatusUnauthorized:
		x.refuse(ProbeUnauthorized, resp, bearer)
		return x.refusal
	case status == http.StatusForbidden && bearer.Error == "insufficient_scope":
		x.refuse(InsufficientScope, resp, bearer)
		return x.refusal
	case status >= 300 && status < 400:
		trouble := x.client.statusError(resp, resp.Request.Method, x.url)
		trouble.Message += ", and a redirect is not followed with a token; put the URL that it leads to into serverURL"
		return trouble
	case status >= 400:
		trouble := x.client.statusError(resp, resp.Request.Method, x.url)
		if !mayHeal(status) {
			trouble.Message += serverHint(x.url, status, contentType)
		}
		return trouble
	case status != http.StatusAccepted && status != http.StatusNoContent && !speaksMCP(contentType):
		trouble := x.unusable("answered with something that is not MCP; check that serverURL is the URL of an MCP endpoint")
		if isBare(x.url) {
			trouble.Message += ": it has no path, and most have one: " + guess(x.url)
		}
		return trouble
	}
	return nil
}

func speaksMCP(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return slices.Contains([]string{"", "application/json", "text/event-stream"}, kind)
}

func (x *exchange) refuse(code Code, resp *http.Response, challenge BearerChallenge) {
	e := rejected(code, "%s %s answered %s to the token", resp.Request.Method, showURL(x.url), showStatus(resp.StatusCode))
	challenge.Scopes = harmless(challenge.Scopes, x.probe.AccessToken)
	e.Status, e.Challenge = resp.StatusCode, &challenge
	x.refusal = e
}

func (x *exchange) unusable(what string) *Error {
	return &Error{Kind: Transient, Code: ServerUnreachable, Message: fmt.Sprintf("the MCP server %s %s", showURL(x.url),
		what)}
}

// explain says in our own words why a probe failed.
func (x *exchange) explain(ctx context.Context, err error) *Error {
	var answer *rpcError
	switch {
	case x.refusal != nil:
		return x.refusal
	case x.requests < 0:
		return x.unusable("asks for more requests than a list of tools takes")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return x.unusable(fmt.Sprintf("did not list its tools within %s", x.client.o.Timeout))
	case ctx.Err() != nil:
		return x.unusable("was not listened to: the probe was cancelled")
	case AsError(err) != nil:
		return AsError(err)
	case errors.As(err, &answer) && answer.trouble != nil:
		return answer.trouble
	case errors.As(err, &answer):
		return x.unusable(fmt.Sprintf("answered with the JSON-RPC error %d", answer.code))
	case errors.Is(err, errTooLarge):
		return x.unusable("greets with more than 256 KiB")
	}
	return x.unusable("does not speak MCP as the specification says, or in no version that is known here")
}
