package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// maxProbeRequests bounds what one probe sends: a server may call back as often as it likes.
const maxProbeRequests = 24

var errProbeOver = errors.New("the probe is over")

// probeTransport sends the requests of one probe: with the token, under the rules of this package, and within bounds that
// hold for all of them together. It notes why a probe failed, since the MCP client tells it in the words of the server.
type probeTransport struct {
	client *Client
	// ctx ends with the probe, and every request with it.
	ctx    context.Context
	cancel context.CancelFunc
	url    *url.URL
	probe  ServerProbe

	mu sync.Mutex
	// left is how much may still be read, of all answers.
	left int
	// requests that may still be sent; negative once the server asked for more.
	requests int
	// refusal of the token ends the probe.
	refusal *Error
	// trouble is what was wrong with the last answer; nil if nothing was.
	trouble *Error
}

// RoundTrip implements http.RoundTripper.
func (t *probeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, sent, err := t.send(req, "")
	if err == nil && t.probe.DPoP != nil && resp.StatusCode == http.StatusUnauthorized {
		if nonce := resp.Header.Get("DPoP-Nonce"); nonce != "" && nonce != sent { // RFC 9449, section 9
			_ = resp.Body.Close()
			resp, _, err = t.send(req, nonce)
		}
	}
	if err != nil {
		return nil, err
	}
	if req.Method == http.MethodDelete { // the end of the session, which some servers do not know
		return resp, nil
	}
	if e := t.judge(resp); e != nil {
		_ = resp.Body.Close()
		return nil, e
	}
	return resp, nil
}

// send sends a request with a proof of its own, and returns the nonce in it.
func (t *probeTransport) send(req *http.Request, nonce string) (*http.Response, string, error) {
	if !t.admit(req.Method) {
		return nil, "", errProbeOver
	}
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(t.ctx, cancel)
	release := func() { stop(); cancel() }
	out := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			release()
			return nil, "", err
		}
		out.Body = body
	}
	sent, e := t.authorize(out, nonce)
	if e != nil {
		release()
		t.note(e)
		return nil, "", e
	}
	resp, err := t.client.roundTrip(out)
	if err != nil {
		release()
		t.note(networkError(err, req.Method, t.url, ServerUnreachable))
		return nil, "", err
	}
	t.client.nonces.put(t.nonceKey(), resp.Header.Get("DPoP-Nonce"))
	resp.Body = &probeBodyReader{ReadCloser: resp.Body, transport: t, release: release}
	return resp, sent, nil
}

// admit says whether one more request may be sent. After a refusal only the session is ended.
func (t *probeTransport) admit(method string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || (t.refusal != nil && method != http.MethodDelete) {
		return false
	}
	if t.requests--; t.requests < 0 {
		t.cancel()
	}
	return t.requests >= 0
}

// authorize puts the token into a request: a token that is bound to a key never goes out as a bearer token.
func (t *probeTransport) authorize(req *http.Request, nonce string) (string, *Error) {
	switch {
	case t.probe.AccessToken == "":
		return "", nil
	case t.probe.DPoP == nil:
		req.Header.Set("Authorization", "Bearer "+t.probe.AccessToken)
		return "", nil
	}
	if nonce == "" {
		nonce = t.client.nonces.get(t.nonceKey())
	}
	proof, err := t.probe.DPoP.Prove(DPoPProof{Method: req.Method, URL: req.URL, AccessToken: t.probe.AccessToken, Nonce: nonce}, t.client.o.Now())
	if err != nil {
		return "", misconfigured(InvalidMetadata, "%s %s was not sent: the DPoP key does not sign", req.Method, showURL(t.url))
	}
	req.Header.Set("Authorization", "DPoP "+t.probe.AccessToken)
	req.Header.Set("DPoP", proof)
	return nonce, nil
}

// nonceKey keeps the nonces of an MCP server apart from those of an authorization server at the same origin.
func (t *probeTransport) nonceKey() string { return "resource " + origin(t.url) }

// judge notes what an answer means, and returns an error if it ends the request.
func (t *probeTransport) judge(resp *http.Response) *Error {
	bearer, _ := FindBearer(ParseChallenges(resp.Header))
	status, contentType := resp.StatusCode, resp.Header.Get("Content-Type")
	var trouble *Error
	switch {
	case status == http.StatusUnauthorized:
		return t.refuse(ProbeUnauthorized, resp, bearer)
	case status == http.StatusForbidden && bearer.Error == "insufficient_scope":
		return t.refuse(InsufficientScope, resp, bearer)
	case status >= 300 && status < 400:
		trouble = t.client.statusError(resp, resp.Request.Method, t.url)
		trouble.Message += ", and a redirect is not followed with a token; put the URL that it leads to into serverURL"
		t.note(trouble)
		return trouble
	case status >= 400:
		trouble = t.client.statusError(resp, resp.Request.Method, t.url)
		if !mayHeal(status) {
			trouble.Message += serverHint(t.url, status, contentType)
		}
	case status != http.StatusAccepted && status != http.StatusNoContent && !speaksMCP(contentType):
		trouble = t.unusable("answered with something that is not MCP; check that serverURL is the URL of an MCP endpoint")
		if isBare(t.url) {
			trouble.Message += ": it has no path, and most have one: " + guess(t.url)
		}
	}
	t.note(trouble)
	return nil
}

func speaksMCP(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return slices.Contains([]string{"", "application/json", "text/event-stream"}, kind)
}

func (t *probeTransport) refuse(code Code, resp *http.Response, challenge BearerChallenge) *Error {
	e := rejected(code, "%s %s answered %s to the token", resp.Request.Method, showURL(t.url), showStatus(resp.StatusCode))
	challenge.Scopes = harmless(challenge.Scopes, t.probe.AccessToken)
	e.Status, e.Challenge = resp.StatusCode, &challenge
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusal = e
	return e
}

func (t *probeTransport) note(trouble *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trouble = trouble
}

func (t *probeTransport) unusable(what string) *Error {
	return &Error{Kind: Transient, Code: ServerUnreachable, Message: fmt.Sprintf("the MCP server %s %s", showURL(t.url), what)}
}

// explain says in our own words why the MCP client failed: its texts may repeat whatever the server sent.
func (t *probeTransport) explain(err error) *Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var answer *jsonrpc.Error
	switch {
	case t.refusal != nil:
		return t.refusal
	case t.requests < 0:
		return t.unusable("asks for more requests than a list of tools takes")
	case errors.Is(t.ctx.Err(), context.DeadlineExceeded):
		return t.unusable(fmt.Sprintf("did not list its tools within %s", t.client.o.Timeout))
	case t.ctx.Err() != nil:
		return t.unusable("was not listened to: the probe was cancelled")
	case t.trouble != nil:
		return t.trouble
	case errors.As(err, &answer):
		return t.unusable(fmt.Sprintf("answered with the JSON-RPC error %d", answer.Code))
	}
	return t.unusable("does not speak MCP as the specification says, or in no version that is known here")
}

// probeBodyReader counts what is read of an answer, and lets its request go.
type probeBodyReader struct {
	io.ReadCloser
	transport *probeTransport
	release   func()
}

// Read implements io.Reader.
func (b *probeBodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	t := b.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left -= n; t.left < 0 {
		t.trouble = t.unusable("answered with more than 1 MiB")
		return 0, errTooLarge
	}
	return n, err
}

// Close implements io.Closer.
func (b *probeBodyReader) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}
