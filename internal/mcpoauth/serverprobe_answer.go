package mcpoauth

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// methodNotFound is the code of JSON-RPC 2.0, section 5.1.
const methodNotFound = -32601

// rpcError is an error answer of JSON-RPC 2.0 (section 5.1). Its text is the server's and is not kept.
type rpcError struct {
	code int
	// trouble is what the status of the answer meant; nil for a 2xx.
	trouble *Error
}

// Error implements error.
func (e *rpcError) Error() string { return fmt.Sprintf("JSON-RPC error %d", e.code) }

// readAnswer finds the answer among what the server sends: requests of its own are counted, and answered by nobody.
// Nothing is kept of an answer but what read keeps, and no more of it is in memory than its longest value.
func (x *exchange) readAnswer(resp *http.Response, read func(*json.Decoder) error) error {
	body := &cutReader{r: resp.Body, left: min(maxProbeBody, x.left)}
	defer func() { x.left -= body.read }()
	var stream io.Reader = body
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/event-stream" {
		stream = &eventReader{r: bufio.NewReader(body)}
	}
	dec := json.NewDecoder(stream)
	for x.requests >= 0 {
		answered, err := x.readMessage(dec, read)
		switch {
		case isOwn(err), err == nil && answered:
			return err
		case body.broken != nil:
			return networkError(body.broken, resp.Request.Method, x.url, ServerUnreachable)
		case err != nil:
			return errNotMCP
		}
	}
	return errProbeOver
}

// isOwn tells our errors from those of the decoder, which repeat what the server sent.
func isOwn(err error) bool {
	var answer *rpcError
	return errors.Is(err, errTooLarge) || errors.Is(err, errEnough) || errors.As(err, &answer)
}

// readMessage reads one message of JSON-RPC, and reports whether it was an answer.
func (x *exchange) readMessage(dec *json.Decoder, read func(*json.Decoder) error) (answered bool, err error) {
	var failed *rpcError
	asks, named := false, false
	err = eachMember(dec, func(name string) error {
		switch name {
		case "result":
			answered = true
			return read(dec)
		case "error":
			var said struct {
				Code int `json:"code"`
			}
			err := decodeValue(dec, &said)
			failed = &rpcError{code: said.Code}
			return err
		case "id":
			named = true
		case "method":
			asks = true
		}
		return skipValue(dec)
	})
	if asks && named {
		x.requests--
	}
	if err == nil && failed != nil {
		return true, failed
	}
	return answered, err
}

// cutReader ends with errTooLarge where there is more than may be read.
type cutReader struct {
	r          io.Reader
	left, read int
	// broken is what ended the connection too early.
	broken error
}

// Read implements io.Reader.
func (c *cutReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(len(p), c.left+1)])
	if err != nil && !errors.Is(err, io.EOF) {
		c.broken = err
	}
	if n > c.left {
		n, err = c.left, errTooLarge
	}
	c.left -= n
	c.read += n
	return n, err
}

// eventReader reads what the message events of an event stream hold, one after the other (HTML, section 9.2:
// server-sent events). It keeps no more than a part of a line.
type eventReader struct {
	r *bufio.Reader
	// data is what was read and not yet given away.
	data []byte
	// within says that a line of data goes on.
	within bool
	// foreign says that the current event is no message.
	foreign bool
	err     error
}

// Read implements io.Reader.
func (e *eventReader) Read(p []byte) (int, error) {
	for len(e.data) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.next()
	}
	n := copy(p, e.data)
	e.data = e.data[n:]
	return n, nil
}

// next reads a line, or as much of it as the buffer holds.
func (e *eventReader) next() {
	within := e.within
	line, err := e.r.ReadSlice('\n')
	ended := !errors.Is(err, bufio.ErrBufferFull)
	if ended {
		e.err = err
	}
	if within {
		e.data, e.within = line, !ended
		return
	}
	field, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
	switch {
	case len(line) > 0 && len(field)+len(value) == 0 && line[0] != ':':
		e.foreign = false
	case string(field) == "event":
		value = bytes.TrimPrefix(value, []byte(" "))
		e.foreign = len(value) > 0 && string(value) != "message"
	case string(field) == "data" && !e.foreign:
		e.data, e.within = line[len("data"):], !ended
		if len(e.data) > 0 && e.data[0] == ':' {
			e.data = e.data[1:]
		}
		return
	}
	if !ended {
		e.skipLine()
	}
}

func (e *eventReader) skipLine() {
	for err := bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
		_, err = e.r.ReadSlice('\n')
		e.err = err
	}
}
