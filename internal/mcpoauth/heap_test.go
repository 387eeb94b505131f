package mcpoauth

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// filled repeats what part makes between begin and end, up to size bytes.
func filled(size int, begin, end string, part func(i int) string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := 0; ; i++ {
		next := part(i)
		if b.Len()+len(next)+len(end) >= size {
			break
		}
		b.WriteString(next)
	}
	return b.String() + end
}

func always(text string) func(int) string { return func(int) string { return text } }

// worst are documents that cost most for their size, with a member of which a list or a text is expected.
func worst(size int, member string) map[string]string {
	return map[string]string{
		"many members":                 filled(size, "{", `"z":0}`, func(i int) string { return fmt.Sprintf(`"%x":0,`, i) }),
		"many empty strings":           filled(size, `{"`+member+`":[`, `""]}`, always(`"",`)),
		"many short strings":           filled(size, `{"`+member+`":[`, `""]}`, always(`"a",`)),
		"many words":                   filled(size, `{"`+member+`":"`, `"}`, always("a ")),
		"many numbers":                 filled(size, `{"`+member+`":[`, `0]}`, always(`0,`)),
		"many empty objects":           filled(size, `{"x":[`, `{}]}`, always(`{},`)),
		"many objects with a member":   filled(size, `{"x":[`, `{}]}`, always(`{"":0},`)),
		"many empty arrays":            filled(size, `{"x":[`, `[]]}`, always(`[],`)),
		"deep nesting":                 `{"x":` + strings.Repeat("[", size/2-10) + strings.Repeat("]", size/2-10) + "}",
		"deep nesting of objects":      filled(size, `{"x":`, "0", always(`{"":`)),
		"one long string":              filled(size, `{"`+member+`":"`, `"}`, always("a")),
		"one long string with escapes": filled(size, `{"`+member+`":"`, `"}`, always(`\u202e`)),
		"one long name":                filled(size, `{"`, `":0}`, always("a")),
		"one long number":              filled(size, `{"`+member+`":1`, `}`, always("0")),
	}
}

// allocated is how many bytes f asks for in all, which is more than it ever holds.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

type decoder struct {
	// limit in bytes of what is read of an answer, and most bytes asked for per byte of it. docs/security.md tells them.
	limit, most int
	documents   map[string]string
	decode      func(text string)
}

func decoders() map[string]decoder {
	c := NewClient(Options{Now: time.Now})
	server, _ := url.Parse("https://mcp.example/mcp")
	endpoint, _ := url.Parse("https://as.example/token")
	long := strings.Repeat("s", 1<<10)
	got := func(status int, contentType, text string) *answer {
		return &answer{status: status, contentType: contentType, body: []byte(text)}
	}
	tokens := worst(maxBody, "scope")
	tokens["long tokens and many scopes"] = `{"access_token":"` + strings.Repeat("a", maxToken) + `","refresh_token":"` +
		strings.Repeat("b", maxToken) + `","scope":"` + strings.Repeat("a ", 300000) + `"}`
	all := map[string]decoder{
		"protected resource metadata": {maxBody, 16, worst(maxBody, "scopes_supported"), func(text string) {
			_, _ = parseResource([]byte(text), "https://mcp.example/x", server)
		}},
		"authorization server metadata": {maxBody, 16, worst(maxBody, "scopes_supported"), func(text string) {
			_, _ = c.parseServer([]byte(text), "https://as.example/x", "https://as.example", trust{})
		}},
		"token answers": {maxBody, 32, tokens, func(text string) {
			_, _ = parseTokenResponse(got(200, "application/json", text), endpoint, GrantTypeRefreshToken, long)
		}},
		"token answers by form": {maxBody, 16, map[string]string{
			"many members": filled(maxBody, "", "access_token=a", func(i int) string { return fmt.Sprintf("%x=&", i) }),
			"many values":  filled(maxBody, "", "access_token=a", always("scope=&")),
			"many words":   filled(maxBody, "access_token=a&scope=", "", always("a+")),
			"many escapes": filled(maxBody, "scope=&", "access_token=a", always("%01=%01&")),
		}, func(text string) {
			_, _ = parseTokenResponse(got(200, "application/x-www-form-urlencoded", text), endpoint, GrantTypeRefreshToken, long)
		}},
		"error answers": {maxBody, 32, worst(maxBody, "error_description"), func(text string) {
			_ = tokenError(got(400, "application/json", `{"error":"invalid_grant",`+text[1:]), endpoint, GrantTypeRefreshToken,
				long)
		}},
		"registration answers": {maxBody, 32, worst(maxBody, "client_id"), func(text string) {
			_, _ = c.parseRegistration([]byte(text), endpoint, AuthMethodNone)
		}},
		"registration errors": {maxBody, 32, worst(maxBody, "error"), func(text string) {
			_ = registrationAnswer(got(400, "application/json", text), http.MethodPost, endpoint, long)
		}},
		"challenges": {maxHeader, 16, map[string]string{
			"many schemes": filled(maxHeader, "", "a", always("a,")),
			"many parameters": filled(maxHeader, "Bearer ", "a=b",
				func(i int) string { return fmt.Sprintf("%x=b,", i) }),
			"many scopes":             filled(maxHeader, `Bearer scope="`, `"`, always("a ")),
			"many quoted characters":  filled(maxHeader, `Bearer scope="`, `"`, always(`\a`)),
			"many unreadable strings": filled(maxHeader, `Bearer `, `"`, always(`"`)),
		}, func(text string) {
			_, _ = FindBearer(ParseChallenges(http.Header{"Www-Authenticate": {text}}))
		}},
		"claims of an assertion": {maxJWT, 32, worst(maxJWT*3/4-10, "aud"), func(text string) {
			_, _ = AssertionAudience(jwtOf(text))
			_, _ = JWTExpiry(jwtOf(text)), JWTIssuer(jwtOf(text))
		}},
		"bodies before they are decoded": {maxBody, 8, map[string]string{"blanks": strings.Repeat(" ", 2*maxBody)},
			func(text string) {
				_, _ = readBody(strings.NewReader(text))
			}},
	}
	for _, kind := range []string{"application/json", "text/event-stream"} {
		documents := map[string]string{}
		for name, text := range worst(maxProbeBody-100, "tools") {
			documents[name] = `{"id":1,"result":` + text + "}"
		}
		documents["many tools"] = filled(maxProbeBody, `{"result":{"tools":[`, `{}]}}`, always(`{},`))
		documents["many tools with names"] = filled(maxProbeBody, `{"result":{"tools":[`, `{}]}}`,
			func(i int) string { return fmt.Sprintf(`{"name":"%x"},`, i) })
		documents["many notifications"] = filled(maxProbeBody, "", `{"result":{}}`, always(`{}`))
		documents["one tool"] = filled(maxProbeBody, `{"result":{"tools":[{"inputSchema":{"a":[`, `0]}}]}}`, always(`{},`))
		if kind == "text/event-stream" {
			for name, text := range documents {
				documents[name] = "data: " + text + "\n\n"
			}
			documents["many lines"] = filled(maxProbeBody, "", "data:{\"result\":{}}\n\n", always("data:\n"))
			documents["many events"] = filled(maxProbeBody, "", "data:{\"result\":{}}\n\n", always("data:{}\n\n"))
			documents["many comments"] = filled(maxProbeBody, "", "data:{\"result\":{}}\n\n", always(":\n"))
		}
		all["probe answers, "+kind] = decoder{maxProbeBody, 32, documents, func(text string) {
			_, _ = probeAnswer(c, kind, io.Reader(bytes.NewReader([]byte(text))))
		}}
	}
	return all
}

func TestALongListIsCutAndAShortOneIsNot(t *testing.T) {
	tail := strings.Repeat(` ,"late"`, 10)
	for name, test := range map[string]struct {
		text, want string
	}{
		"a short list": {`{"a":[1,"]",[2],{"b":[]}] , "c" : "\\\"]" }`, `{"a":[1,"]",[2],{"b":[]}] , "c" : "\\\"]" }`},
		"a long one": {`{"a":[` + strings.Repeat("0,", maxElements-1) + `1` + tail + `],"c":[0]}`, `{"a":[` +
			strings.Repeat("0,", maxElements-1) + `1],"c":[0]}`},
		"a long one of an element": {`{"a":[` + strings.Repeat("0,", maxElements-1) + `[1]` + tail + `],"c":[0]}`, `{"a":[` +
			strings.Repeat("0,", maxElements-1) + `[1]],"c":[0]}`},
		"two long ones": {`{"a":[` + strings.Repeat("0,", maxElements-1) + `1` + tail + `],"c":[` +
			strings.Repeat("0,", maxElements-1) + `1` + tail + `]}`, `{"a":[` + strings.Repeat("0,", maxElements-1) +
			`1],"c":[` + strings.Repeat("0,", maxElements-1) + `1]}`},
	} {
		if got, err := walk([]byte(test.text), nil); err != nil || string(got) != test.want {
			t.Errorf("%s of %d bytes is cut to %d, want %d; error %v", name, len(test.text), len(got), len(test.want), err)
		}
	}
	if _, err := walk([]byte(`{"a":[`+strings.Repeat("0,", maxElements)+`{"b":0,"b":0}]}`), nil); err == nil {
		t.Error("a member that is there twice in an end that is cut off is accepted")
	}
}

func TestADecoderAsksForLittleMoreMemoryThanItReads(t *testing.T) {
	for what, d := range decoders() {
		for name, text := range d.documents {
			d.decode(text[:min(len(text), 100)]) // what is made once is made now
			got := allocated(func() { d.decode(text) })
			t.Logf("%s, %s: %d bytes, %.1f times %d KiB", what, name, got, float64(got)/float64(d.limit), d.limit>>10)
			if got > uint64(d.most*d.limit) {
				t.Errorf("%s with %s ask for %d bytes, more than %d times %d KiB", what, name, got, d.most, d.limit>>10)
			}
		}
	}
}
