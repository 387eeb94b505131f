package doctor

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// The three kinds of requests of a discovery, in order.
type stage int

const (
	stageServer stage = iota
	stageResource
	stageAuthorizationServer
)

// maxShown is how many characters of a stranger's text are shown.
const maxShown = 256

// requests of one discovery, by what they were for.
type requests struct {
	byStage [3][]*Exchange
	last    stage
}

// sort tells what each request was for: the first is to the MCP server; what follows is for protected resource metadata
// until one of its documents was read, and for authorization server metadata from then on, or once a well-known
// location says so.
func sort(all []*Exchange) requests {
	var r requests
	found := false
	for i, e := range all {
		stage := stageResource
		switch {
		case i == 0:
			stage = stageServer
		case found || isServerLocation(e.raw):
			stage = stageAuthorizationServer
		}
		e.read(stage)
		found = found || stage == stageResource && e.document() != nil
		r.byStage[stage] = append(r.byStage[stage], e)
		r.last = stage
	}
	return r
}

func isServerLocation(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (strings.Contains(u.Path, "/.well-known/oauth-authorization-server") ||
		strings.HasSuffix(u.Path, "/.well-known/openid-configuration"))
}

// document is the JSON object of a successful answer; nil if it is none.
func (e *Exchange) document() map[string]any {
	if e.code < 200 || e.code > 299 || e.cut {
		return nil
	}
	var members map[string]any
	if json.Unmarshal([]byte(strings.TrimPrefix(e.body.String(), "\uFEFF")), &members) != nil {
		return nil
	}
	return members
}

// document of a stage: the last that was read; nil if there is none.
func (r *requests) document(s stage) map[string]any {
	for _, e := range slices.Backward(r.byStage[s]) {
		if d := e.document(); d != nil {
			return d
		}
	}
	return nil
}

// shown are the requests of a stage as a finding has them.
func (r *requests) shown(s stage) []Exchange {
	var out []Exchange
	for _, e := range r.byStage[s] {
		out = append(out, Exchange{Method: e.Method, URL: e.URL, Status: e.Status, Read: e.Read, denied: e.denied})
	}
	return out
}

var (
	resourceMembers = []string{"resource", "authorization_servers", "scopes_supported",
		"dpop_bound_access_tokens_required"}
	serverMembers = []string{
		"issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint",
		"scopes_supported",
		"code_challenge_methods_supported", "token_endpoint_auth_methods_supported", "grant_types_supported",
		"client_id_metadata_document_supported", "authorization_response_iss_parameter_supported",
	}
)

// read notes what an answer says.
func (e *Exchange) read(s stage) {
	switch {
	case e.Status == "":
	case e.code >= 300 && e.code < 400:
		e.Read = append(e.Read, "Location: "+shownText(e.header.Get("Location")))
	case s == stageServer:
		e.Read = append(e.Read, challengeRead(e)...)
	case e.document() != nil:
		members := resourceMembers
		if s == stageAuthorizationServer {
			members = serverMembers
		}
		e.Read = append(e.Read, membersRead(e.document(), members)...)
	case e.code < 300:
		e.Read = append(e.Read, notDocument(e))
	}
}

func challengeRead(e *Exchange) []string {
	challenges := mcpoauth.ParseChallenges(e.header)
	if len(challenges) == 0 {
		return []string{"no WWW-Authenticate" + pageNote(e)}
	}
	var lines []string
	for _, ch := range challenges[:min(len(challenges), 4)] {
		line := "WWW-Authenticate: " + mcpoauth.Sanitize(ch.Scheme, 32)
		for _, name := range []string{"resource_metadata", "scope", "error"} {
			value, named := ch.Parameters[name]
			if !named {
				continue
			}
			if name == "resource_metadata" {
				value = shownText(value)
			}
			line += fmt.Sprintf(" %s=%q", name, mcpoauth.Sanitize(value, maxShown))
		}
		lines = append(lines, line)
	}
	return lines
}

func pageNote(e *Exchange) string {
	if e.isPage() {
		return "; a web page"
	}
	return ""
}

func (e *Exchange) isPage() bool {
	media, _, err := mime.ParseMediaType(e.header.Get("Content-Type"))
	return err == nil && media == "text/html"
}

func notDocument(e *Exchange) string {
	what := mcpoauth.Sanitize(e.header.Get("Content-Type"), 64)
	if what == "" {
		what = "no Content-Type"
	}
	switch {
	case e.cut || e.body.Len() >= maxKept:
		return what + ", larger than 1 MiB: the rest was not read"
	case e.broken:
		return what + ", which did not come to its end"
	}
	return what + ", no JSON object"
}

func membersRead(document map[string]any, names []string) []string {
	var lines []string
	for _, name := range names {
		if value, has := document[name]; has {
			lines = append(lines, name+": "+valueRead(value))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "a JSON object with none of the members that are looked for")
	}
	return lines
}

// valueRead shows a JSON value. URLs are shown without query, like everywhere.
func valueRead(value any) string {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "://") {
			return shownText(v)
		}
		return mcpoauth.Sanitize(v, maxShown)
	case []any:
		var parts []string
		for _, part := range v[:min(len(v), 12)] {
			parts = append(parts, valueRead(part))
		}
		if len(v) > 12 {
			parts = append(parts, fmt.Sprintf("and %d more", len(v)-12))
		}
		if len(parts) == 0 {
			return "(empty list)"
		}
		return strings.Join(parts, ", ")
	case bool, float64:
		return fmt.Sprint(v)
	}
	return "(no value)"
}

// texts of a list member; nil if it is absent or no list.
func texts(document map[string]any, name string) []string {
	list, ok := document[name].([]any)
	if !ok {
		return nil
	}
	out := []string{}
	for _, v := range list {
		if text, ok := v.(string); ok {
			out = append(out, text)
		}
	}
	return out
}
