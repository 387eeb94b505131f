package callback

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/internal/credential"
)

// abuse is one request of somebody who means harm, sent as bytes to the server that runs in production. Whatever it is
// answered, nothing that is stored may change, nothing of it may come back, and the honest person must still get
// through.
type abuse struct {
	// send is the request: a line, headers, and after an empty line the body. See fill for what may stand in it.
	send string
	want int
	// before is what has happened meanwhile.
	before func(*siege)
	// over is set if the honest person's sign-in has ended for another reason.
	over bool
	// refused is set where net/http answers by itself, without our headers.
	refused bool
}

// siege is a server with the sign-ins of an honest person and of a stranger under way. Both hold the link.
type siege struct {
	*fixture
	alice, mallory *browser
	// states of the two.
	state, other string
}

func newSiege(f *fixture) *siege {
	f.Helper()
	s := &siege{fixture: f}
	s.alice, s.mallory = s.browser(), s.browser()
	s.state, s.other = s.alice.begin(), s.mallory.begin()
	return s
}

// fill makes bytes of a request. {ok} is what an honest answer holds besides its state.
func (s *siege) fill(send string) string {
	head, body, _ := strings.Cut(send, "\n\n")
	first, rest, _ := strings.Cut(head, "\n")
	if !strings.Contains(first, " HTTP/") {
		first += " HTTP/1.1"
	}
	head = first + "\n" + rest
	if !strings.Contains(head, "\nHost:") {
		head += "\nHost: connect.example.com"
	}
	head = strings.ReplaceAll(strings.ReplaceAll(head, "\n\n", "\n"), "\n", "\r\n") + "\r\nConnection: close\r\n\r\n" +
		body
	return strings.NewReplacer(
		"{ticket}", s.ticket, "{state}", s.state, "{other}", s.other, "{guess}", credential.NewTicket(s.uid),
		"{foreign}", credential.NewTicket(otherUID), "{ok}", "code=code-1&iss="+issuer,
		"{alice}", "Cookie: "+cookieSecure+"="+s.alice.cookie.Value, "{mallory}", "Cookie: "+cookieSecure+"="+
			s.mallory.cookie.Value,
		"{value}", s.alice.cookie.Value, "{TICKET}", strings.ToUpper(s.ticket), "{STATE}", strings.ToUpper(s.state),
		"{first}", "%"+hexOf(s.ticket[0]), "{rest}", s.ticket[1:],
	).Replace(head)
}

func hexOf(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

// sent sends bytes over a connection of its own and returns the answer, body and all.
func (s *siege) sent(raw string) (*http.Response, string) {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	ctx, cancel := context.WithCancel(s.Context())
	s.server.stopping = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- s.server.serve(ctx, listener) }()
	defer func() {
		cancel()
		s.must(<-done)
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	s.must(err)
	defer func() { _ = conn.Close() }()
	s.must(conn.SetDeadline(time.Now().Add(10 * time.Second)))
	_, _ = conn.Write([]byte(raw)) // the server may have hung up before the end of it
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), httptest.NewRequestWithContext(ctx, method, "/", nil))
	s.must(err)
	body, err := io.ReadAll(resp.Body)
	if resp.ContentLength >= 0 { // else the server hung up on us
		s.must(err)
	}
	s.must(resp.Body.Close())
	return resp, string(body)
}

// Longer than the server reads.
var (
	longText   = strings.Repeat("evil", maxQuery/4+1)
	longHeader = strings.Repeat("evil", maxHeaderBytes/2)
)

var startAbuses = map[string]abuse{
	"a form on a foreign page":           {send: "POST /connect/{ticket}\nOrigin: https://evil.example", want: 403},
	"a form on a page without an origin": {send: "POST /connect/{ticket}\nOrigin: null", want: 403},
	"a form on another site":             {send: "POST /connect/{ticket}\nSec-Fetch-Site: cross-site", want: 403},
	"a form on a sister site":            {send: "POST /connect/{ticket}\nSec-Fetch-Site: same-site", want: 403},
	"a form of another port": {send: "POST /connect/{ticket}\nOrigin: " +
		"https://connect.example.com:8443", want: 403},
	"a form of the same host by http": {send: "POST /connect/{ticket}\nHost: evil.example\nOrigin: " +
		"http://connect.example.com", want: 403},
	"a foreign form with the visitor's cookie": {send: "POST /connect/{ticket}\n{alice}\nOrigin: " +
		"https://evil.example", want: 403},
	"a foreign form that claims a host": {send: "POST /connect/{ticket}\nOrigin: " +
		"https://evil.example\nX-Forwarded-Host: evil.example", want: 403},
	"a form that sends something along": {send: "POST /connect/{ticket}\nContent-Length: 10\n\nstate=evil", want: 400},
	"a form that sends something in pieces": {send: "POST /connect/{ticket}\nTransfer-Encoding: " +
		"chunked\n\n4\r\nevil\r\n0\r\n\r\n", want: 400},
	"a form that announces ten gigabytes": {send: "POST /connect/{ticket}\nContent-Length: " +
		"10000000000\n\nevil", want: 400},
	"a POST in disguise": {send: "GET /connect/{ticket}\nX-HTTP-Method-Override: " +
		"POST\nX-Method-Override: POST", want: 200},
	"a GET with a body":                  {send: "GET /connect/{ticket}\nContent-Length: 4\n\nevil", want: 200},
	"a HEAD":                             {send: "HEAD /connect/{ticket}", want: 200},
	"a prefetch":                         {send: "GET /connect/{ticket}\nSec-Purpose: prefetch;prerender", want: 200},
	"a PUT":                              {send: "PUT /connect/{ticket}\nContent-Length: 0", want: 405},
	"a DELETE":                           {send: "DELETE /connect/{ticket}", want: 405},
	"a TRACE that wants its cookie back": {send: "TRACE /connect/{ticket}\n{alice}\nX-Evil: evil", want: 405},
	"a CONNECT":                          {send: "CONNECT /connect/{ticket}", want: 405},
	"a method of the visitor's own":      {send: "EVIL /connect/{ticket}", want: 405},
	"a method in lower case":             {send: "post /connect/{ticket}\nContent-Length: 0", want: 405},
	"a preflight": {send: "OPTIONS /connect/{ticket}\nOrigin: " +
		"https://evil.example\nAccess-Control-Request-Method: POST", want: 405},
	"an asterisk":                              {send: "OPTIONS *", want: 200, refused: true},
	"a way up":                                 {send: "GET /connect/../oauth/evil", want: 404},
	"a way up in escapes":                      {send: "GET /connect/%2e%2e/%2e%2e/evil", want: 404},
	"a way around":                             {send: "GET /evil/../connect/{ticket}", want: 404},
	"a slash too many":                         {send: "GET //connect/{ticket}", want: 404},
	"a slash at the end":                       {send: "GET /connect/{ticket}/", want: 404},
	"a ticket with more behind it":             {send: "GET /connect/{ticket}/..%2fevil", want: 404},
	"a ticket with a NUL":                      {send: "GET /connect/{ticket}%00", want: 404},
	"a ticket with a line feed":                {send: "GET /connect/{ticket}%0a", want: 404},
	"a ticket with parameters":                 {send: "GET /connect/{ticket};evil=1", want: 404},
	"a ticket in capitals":                     {send: "POST /connect/{TICKET}\nContent-Length: 0", want: 404},
	"a ticket in wide letters":                 {send: "GET /connect/%EF%BC%A1{ticket}", want: 404},
	"a ticket escaped once is the same ticket": {send: "GET /connect/{first}{rest}", want: 200},
	"a ticket escaped twice":                   {send: "GET /connect/%25{first}{rest}", want: 404},
	"a guessed ticket of this connection":      {send: "POST /connect/{guess}\nContent-Length: 0", want: 404},
	"a ticket of no connection":                {send: "POST /connect/{foreign}\nContent-Length: 0", want: 404},
	"a state as a ticket":                      {send: "POST /connect/{state}\nContent-Length: 0", want: 404},
	"the page in capitals":                     {send: "GET /CONNECT/{ticket}", want: 404},
	"a host in the path":                       {send: "GET //evil.example/%2f..", want: 404},
	"a backslash":                              {send: `GET /\evil.example`, want: 404},
	"a place to go afterwards": {
		send: "GET /connect/{ticket}?next=https://evil.example&redirect_uri=https://evil.example", want: 200},
	"a request for another host": {send: "GET http://evil.example/connect/{ticket}", want: 200},
	"a false Host":               {send: "GET /connect/{ticket}\nHost: evil.example", want: 200},
	"false words of a proxy": {send: "GET /connect/{ticket}\nX-Forwarded-Host: " +
		"evil.example\nX-Forwarded-Proto: evil\nX-Forwarded-Prefix: /evil\nX-Original-URL: /evil\nX-Rewrite-URL: " +
		"/evil\nForwarded: host=evil.example;proto=evil", want: 200},
	"a change of protocol": {send: "GET /connect/{ticket}\nConnection: Upgrade\nUpgrade: evil", want: 200},
	"a part of the page":   {send: "GET /connect/{ticket}\nRange: bytes=0-3\nIf-None-Match: *", want: 200},
	"a query without end":  {send: "GET /connect/{ticket}?" + longText, want: 414},
	"headers without end":  {send: "GET /connect/{ticket}\nX-Evil: " + longHeader, want: 431, refused: true},
	"two lengths": {send: "POST /connect/{ticket}\nContent-Length: " +
		"0\nContent-Length: 4\n\nevil", want: 400, refused: true},
	"a header with a carriage return": {send: "GET /connect/{ticket}\nX-Evil: a\rSet-Cookie: evil",
		want: 400, refused: true},
	"no host": {send: "GET /connect/{ticket}\nHost:\nHost: evil", want: 400, refused: true},
	"a link that has expired": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 410,
		over: true, before: func(s *siege) { s.now = s.now.Add(credential.TicketLifetime) }},
	"a link that was replaced": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 410,
		over: true, before: func(s *siege) { s.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() }) }},
	"a link that was used": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 410,
		over: true, before: func(s *siege) { s.connected() }},
	"a link of a suspended connection": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 409,
		over: true, before: func(s *siege) { s.suspend() }},
	"a link of a connection that was made anew": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 410,
		over: true, before: func(s *siege) { s.remake() }},
	"a name in the header of a proxy that is not one": {send: "POST /connect/{ticket}\nContent-Length: " +
		"0\nX-Forwarded-User: evil", want: 403, over: true, before: func(s *siege) { s.guard("evil") }},
	"an address that is made up along with the name": {send: "POST /connect/{ticket}\nContent-Length: " +
		"0\nX-Forwarded-User: evil\nX-Forwarded-For: 198.51.100.7", want: 403, over: true,
		before: func(s *siege) { s.guard("evil") }},
}

var callbackAbuses = map[string]abuse{
	"no cookie":                     {send: "GET /oauth/callback?state={state}&{ok}", want: 403},
	"the cookie of another browser": {send: "GET /oauth/callback?state={state}&{ok}\n{mallory}", want: 403},
	"the cookie under another name": {send: "GET /oauth/callback?state={state}&{ok}\nCookie: " +
		"mcp-connection={value}", want: 403},
	"a cookie that was cut": {send: "GET /oauth/callback?state={state}&{ok}\nCookie: " +
		"__Host-mcp-connection=evil", want: 403},
	"the hash instead of the cookie": {send: "GET /oauth/callback?state={state}&{ok}\nCookie: " +
		"__Host-mcp-connection=", want: 403},
	"a cookie planted before the real one": {send: "GET /oauth/callback?state={state}&{ok}\n{mallory}; " +
		"__Host-mcp-connection={value}", want: 403},
	"an attacker's answer in the victim's browser": {send: "GET /oauth/callback?state={other}&{ok}\n{alice}", want: 403},
	"no state":                 {send: "GET /oauth/callback?{ok}\n{alice}", want: 400},
	"an empty state":           {send: "GET /oauth/callback?state=&{ok}\n{alice}", want: 400},
	"a state of nobody":        {send: "GET /oauth/callback?state={guess}&{ok}\n{alice}", want: 400},
	"a state of no connection": {send: "GET /oauth/callback?state={foreign}&{ok}\n{alice}", want: 400},
	"a ticket as a state":      {send: "GET /oauth/callback?state={ticket}&{ok}\n{alice}", want: 400},
	"a state in capitals":      {send: "GET /oauth/callback?state={STATE}&{ok}\n{alice}", want: 400},
	"a state with a line feed": {send: "GET /oauth/callback?state={state}%0d%0aLocation:evil&{ok}\n{alice}", want: 400},
	"a state that is no text":  {send: "GET /oauth/callback?state=%ff%fe&{ok}\n{alice}", want: 400},
	"a state that is markup":   {send: "GET /oauth/callback?state=%3Cscript%3Eevil&{ok}\n{alice}", want: 400},
	"a state that is long": {send: "GET /oauth/callback?state={state}" +
		strings.Repeat("a", 300) + "&{ok}\n{alice}", want: 400},
	"the state twice": {send: "GET /oauth/callback?state={state}&state={state}&{ok}\n{alice}", want: 400},
	"two states":      {send: "GET /oauth/callback?state={other}&state={state}&{ok}\n{alice}", want: 400},
	"two codes":       {send: "GET /oauth/callback?state={state}&{ok}&code=evil\n{alice}", want: 400},
	"two issuers":     {send: "GET /oauth/callback?state={state}&{ok}&iss=https://evil.example\n{alice}", want: 400},
	"a foreign issuer before the right one": {
		send: "GET /oauth/callback?iss=https://evil.example&state={state}&{ok}\n{alice}", want: 400},
	"two errors": {send: "GET /oauth/callback?state={state}&error=evil&error=evil&iss=" + issuer + "\n{alice}", want: 400},
	"two descriptions": {
		send: "GET /oauth/callback?state={state}&error=e&error_description=evil&error_description=evil\n{alice}", want: 400},
	"parameters apart by semicolons": {send: "GET /oauth/callback?state={state};code=evil\n{alice}", want: 400},
	"broken escapes":                 {send: "GET /oauth/callback?state={state}&{ok}&evil=%zz\n{alice}", want: 400},
	"neither code nor error":         {send: "GET /oauth/callback?state={state}&iss=" + issuer + "\n{alice}", want: 400},
	"an empty code": {send: "GET /oauth/callback?state={state}&code=&iss=" + issuer +
		"\n{alice}", want: 400},
	"a token instead of a code": {
		send: "GET /oauth/callback?state={state}&access_token=evil&token_type=Bearer&iss=" + issuer + "\n{alice}", want: 400},
	"a code without end": {send: "GET /oauth/callback?state={state}&code=" +
		strings.Repeat("e", maxCode+1) + "&iss=" + issuer + "\n{alice}", want: 400},
	"a code with a line feed": {send: "GET /oauth/callback?state={state}&code=a%0d%0aevil&iss=" +
		issuer + "\n{alice}", want: 400},
	"a code that is no text": {send: "GET /oauth/callback?state={state}&code=%ff&iss=" + issuer + "\n{alice}", want: 400},
	"a description that is a script": {
		send: "GET /oauth/callback?state={guess}&error=evil" +
			"&error_description=%3Cscript%3Eevil()%3C/script%3E&error_uri=https://evil.example\n{alice}", want: 400},
	"a query without end": {send: "GET /oauth/callback?state={state}&{ok}&evil=" + longText + "\n{alice}", want: 414},
	"an answer in a form": {send: "POST /oauth/callback\n{alice}\nContent-Type: " +
		"application/x-www-form-urlencoded\nContent-Length: 200\n\nstate={state}&code=evil", want: 405},
	"an answer in a fragment":        {send: "GET /oauth/callback#state={state}&{ok}\n{alice}", want: 404},
	"an answer in the body of a GET": {send: "GET /oauth/callback\n{alice}\nContent-Length: 10\n\nstate=evil", want: 400},
	"a HEAD":                         {send: "HEAD /oauth/callback?state={state}&{ok}\n{alice}", want: 200},
	"a prefetch": {
		send: "GET /oauth/callback?state={state}&{ok}\n{alice}\nSec-Purpose: prefetch", want: 503},
	"a preview": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}\nX-Purpose: preview", want: 503},
	"a PUT":     {send: "PUT /oauth/callback?state={state}&{ok}\n{alice}\nContent-Length: 0", want: 405},
	"a TRACE that wants its cookie back": {send: "TRACE /oauth/callback?state={state}&{ok}\n{alice}",
		want: 405},
	"a way around": {send: "GET /oauth/./callback?state={state}&{ok}\n{alice}", want: 404},
	"a page below": {send: "GET /oauth/callback/evil?state={state}&{ok}\n{alice}", want: 404},
	"an expired sign-in": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 400,
		over: true, before: func(s *siege) { s.now = s.now.Add(credential.RequestLifetime) }},
	"a sign-in of a link that was replaced": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 400,
		over: true, before: func(s *siege) { s.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() }) }},
	"a sign-in of a suspended connection": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 409,
		over: true, before: func(s *siege) { s.suspend() }},
	"a sign-in of a connection made anew": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 400,
		over: true, before: func(s *siege) { s.remake() }},
	"the oldest of six": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 400,
		over: true, before: func(s *siege) { s.crowd(credential.MaxRequests) }},
	"a used state again": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 303,
		over: true, before: func(s *siege) { s.connected() }},
	"a used state with another code": {send: "GET /oauth/callback?state={state}&code=evil&iss=" + issuer +
		"\n{alice}", want: 303, over: true, before: func(s *siege) { s.connected() }},
	"a used state in another browser": {send: "GET /oauth/callback?state={state}&{ok}\n{mallory}", want: 403,
		over: true, before: func(s *siege) { s.connected() }},
	"a second code after the consent": {send: "GET /oauth/callback?state={other}&{ok}\n{mallory}", want: 400,
		over: true, before: func(s *siege) { s.connected() }},
	"a name in the header of what is no proxy": {
		send: "GET /oauth/callback?state={state}&{ok}\n{alice}\nX-Forwarded-User: alice", want: 403, over: true,
		before: func(s *siege) { s.began("alice") }},
	"an address made up along with the name": {
		send: "GET /oauth/callback?state={state}&{ok}\n{alice}\nX-Forwarded-User: alice\nX-Forwarded-For: 198.51.100.7",
		want: 403, over: true, before: func(s *siege) { s.began("alice") }},
	"a name with an underscore for a hyphen": {
		send: "GET /oauth/callback?state={state}&{ok}\n{alice}\nX_Forwarded_User: alice", want: 403, over: true,
		before: func(s *siege) { s.began("alice") }},
	"a code for a connection that has one in hand": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 409,
		over: true, before: func(s *siege) { s.inHand() }},
	"an answer past the limit of a client": {send: "GET /oauth/callback?state={state}&{ok}\n{alice}", want: 429,
		over: true, before: func(s *siege) { s.exhaust() }},
	"a request past the limit of a client": {send: "POST /connect/{ticket}\nContent-Length: 0", want: 429,
		over: true, before: func(s *siege) { s.exhaust() }},
	"the document of a client with a foreign query": {
		send: "GET /oauth/client-metadata.json?redirect_uri=https://evil.example\nHost: evil.example", want: 200},
}

func (s *siege) connected() {
	expect(s.fixture, s.alice.answer(s.state, "code", "c"), http.StatusSeeOther)
	s.finish("", "")
}

func (s *siege) crowd(n int) {
	for range n {
		s.mallory.begin()
	}
}

// guard puts a proxy before the server that lets a user in. No test sends from where the proxy is.
func (s *siege) guard(user string) {
	behindProxy(&s.server.o, nil)
	s.permit(user)
}

// began is a sign-in that a person behind the proxy has begun.
func (s *siege) began(user string) {
	s.guard(user)
	s.alice = s.person(user)
	s.state = s.alice.begin()
}

// inHand is a code of the stranger's that may be on the wire while a new sign-in begins.
func (s *siege) inHand() {
	expect(s.fixture, s.mallory.answer(s.other, "code", "c"), http.StatusSeeOther)
	s.state = s.alice.begin()
}

func (s *siege) exhaust() {
	for range addressBurst {
		s.must(s.server.perAddress.take(addressKey(netip.MustParseAddr("127.0.0.1")), s.now))
	}
}

var _ = Describe("The start page withstands", Label("security"), func() { besiege(startAbuses) })

var _ = Describe("The redirect URI withstands", Label("security"), func() { besiege(callbackAbuses) })

// besiege declares a spec for each abuse.
func besiege(abuses map[string]abuse) {
	for _, name := range slices.Sorted(maps.Keys(abuses)) {
		It(name, func() {
			s, a := newSiege(newFixture()), abuses[name]
			if a.before != nil {
				a.before(s)
			}
			stored := s.secret()
			resp, body := s.sent(s.fill(a.send))
			Expect(resp.StatusCode).To(Equal(a.want), body)
			Expect(s.secret()).To(Equal(stored))
			s.checkAnswer(resp, body, a)
			if a.over {
				return
			}
			s.now = s.now.Add(time.Minute)
			expect(s.fixture, s.alice.answer(s.state, "code", "code-1"), http.StatusSeeOther)
		})
	}
}

var _ = Describe("The form of the start page", Label("security"), func() {
	DescribeTable("leads where it leads, whatever is in a request:", func(send string) {
		s := newSiege(newFixture())
		resp, _ := s.sent(s.fill(send))
		Expect(resp.StatusCode).To(Equal(http.StatusSeeOther))
		location, err := resp.Location()
		Expect(err).NotTo(HaveOccurred())
		Expect(location.Host).To(Equal("auth.example.com"))
		Expect(location.Query()["redirect_uri"]).To(Equal([]string{externalURL + credential.PathCallback}))
		Expect(resp.Header.Get("Location") + resp.Header.Get("Set-Cookie")).NotTo(ContainSubstring("evil"))
	},
		Entry("a host name that was bound to our address", "POST /connect/{ticket}\nHost: evil.example\nOrigin: "+
			"https://evil.example\nContent-Length: 0"),
		Entry("a query",
			"POST /connect/{ticket}?redirect_uri=https://evil.example&state=evil&resource=evil\nContent-Length: 0"),
		Entry("words of a proxy", "POST /connect/{ticket}\nX-Forwarded-Host: evil.example\nX-Forwarded-Prefix: "+
			"/evil\nContent-Length: 0"),
		Entry("a state of the visitor's own in a cookie", "POST /connect/{ticket}\nCookie: state=evil; "+
			"redirect_uri=evil\nContent-Length: 0"),
	)
})

// checkAnswer looks for what must not be in an answer, nor in a log.
func (s *siege) checkAnswer(resp *http.Response, body string, a abuse) {
	GinkgoHelper()
	header := resp.Header
	if !a.refused {
		Expect(header).To(And(
			HaveKeyWithValue("Referrer-Policy", []string{"no-referrer"}),
			HaveKeyWithValue("X-Content-Type-Options", []string{"nosniff"}),
			HaveKeyWithValue("X-Frame-Options", []string{"DENY"}), HaveKeyWithValue("Strict-Transport-Security",
				[]string{"max-age=31536000"})))
		Expect(header.Get("Content-Security-Policy")).To(And(ContainSubstring("default-src 'none'"),
			ContainSubstring("frame-ancestors 'none'")))
		if !strings.Contains(a.send, "client-metadata") {
			Expect(header.Get("Cache-Control")).To(Equal("no-store"))
		}
	}
	location := ""
	if a.want == http.StatusSeeOther {
		location = "/connect/" + s.ticket
	}
	Expect(header.Get("Location")).To(Equal(location))
	if a.want == http.StatusTooManyRequests {
		Expect(header.Get("Retry-After")).To(Equal("1"))
	}
	for name := range header {
		Expect(name).NotTo(Or(HavePrefix("Access-Control-"), Equal("Set-Cookie"), Equal("Upgrade")))
	}
	var seen strings.Builder
	Expect(header.Write(&seen)).To(Succeed())
	for where, text := range map[string]string{"answer": seen.String() + body, "log": s.logs.String(),
		"audit log": s.audits.String()} {
		for _, bad := range []string{"evil", "<script"} {
			if !strings.Contains(text, `"user"="evil"`) {
				Expect(strings.ToLower(text)).NotTo(ContainSubstring(bad), "repeated in the %s", where)
			}
		}
		for _, secret := range []string{s.state, s.other, s.alice.cookie.Value, s.mallory.cookie.Value, "code-1"} {
			Expect(strings.Contains(text, secret)).To(BeFalse(), "the %s holds a secret", where)
		}
	}
}
