package credential

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const uid = types.UID("0b0e7a52-3f6e-4d0c-9a55-6c1f4f0f9d11")

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func offer(ticket string) *Offer {
	return &Offer{Ticket: ticket, ExpiresAt: noon.Add(TicketLifetime),
		Binding: Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: "https://auth.example.com"}}
}

func request(state, browser string) Request {
	return Request{State: state, BrowserHash: Hash(browser), ExpiresAt: noon.Add(RequestLifetime), Ticket: "t"}
}

func TestTicketLeadsBackToItsConnection(t *testing.T) {
	ticket := NewTicket(uid)
	if got, ok := TicketUID(ticket); !ok || got != uid {
		t.Errorf("UID %q, %v", got, ok)
	}
	if strings.Trim(ticket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		t.Errorf("ticket %q does not fit into a URL as it is", ticket)
	}
	if NewTicket(uid) == ticket {
		t.Error("two tickets are equal")
	}
}

func TestWhatIsNotATicketHasNoUID(t *testing.T) {
	ticket := NewTicket(uid)
	for name, s := range map[string]string{
		"nothing":               "",
		"a word":                "hello",
		"a UID without bits":    strings.ReplaceAll(string(uid), "-", ""),
		"a UID with dashes":     string(uid) + ticket[32:],
		"upper case":            strings.ToUpper(ticket[:32]) + ticket[32:],
		"a digit that is wrong": "g" + ticket[1:],
		"a UID too short":       ticket[1:],
		"other characters":      ticket + "/../x",
	} {
		if got, ok := TicketUID(s); ok {
			t.Errorf("%s: UID %q", name, got)
		}
	}
}

func TestOpenOffer(t *testing.T) {
	for name, c := range map[string]struct {
		a      Authorization
		ticket string
		now    time.Time
		want   error
	}{
		"the open offer is found":                 {Authorization{Offer: offer("t")}, "t", noon, nil},
		"it is open until just before its expiry": {Authorization{Offer: offer("t")}, "t", noon.Add(TicketLifetime - 1), nil},
		"it is gone at its expiry": {Authorization{Offer: offer("t")}, "t", noon.Add(TicketLifetime),
			ErrTicketGone},
		"a retired ticket is gone": {Authorization{Offer: offer("t"), Retired: []string{Hash("old")}}, "old",
			noon, ErrTicketGone},
		"a retired ticket is gone without an offer": {Authorization{Retired: []string{Hash("old")}}, "old", noon,
			ErrTicketGone},
		"another ticket is unknown":  {Authorization{Offer: offer("t")}, "other", noon, ErrUnknownTicket},
		"an empty ticket is unknown": {Authorization{}, "", noon, ErrUnknownTicket},
		"the hash of a ticket is no ticket": {Authorization{Retired: []string{Hash("old")}}, Hash("old"), noon,
			ErrUnknownTicket},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := c.a.OpenOffer(c.ticket, c.now)
			if !errors.Is(err, c.want) || (err == nil) != (o != nil) {
				t.Errorf("offer %v, error %v; want error %v", o, err, c.want)
			}
		})
	}
}

func TestAddRequestKeepsFiveAndDropsTheOldestAndTheExpired(t *testing.T) {
	var a Authorization
	expired := request("expired", "b")
	expired.ExpiresAt = noon
	a.Requests = []Request{expired}
	before := a.Requests
	for i := range 7 {
		a.AddRequest(request(fmt.Sprint(i), "b"), noon)
	}
	var states []string
	for _, r := range a.Requests {
		states = append(states, r.State)
	}
	if want := []string{"2", "3", "4", "5", "6"}; !slices.Equal(states, want) {
		t.Errorf("kept %v, want %v", states, want)
	}
	if before[0].State != "expired" {
		t.Error("the slice that was there before was written to")
	}
}

func TestPendingRequest(t *testing.T) {
	a := Authorization{Requests: []Request{request("s1", "alice"), request("s2", "bob")}}
	for name, c := range map[string]struct {
		state, hash string
		now         time.Time
		want        error
	}{
		"its own browser finds it":                {"s2", Hash("bob"), noon, nil},
		"another browser does not":                {"s2", Hash("alice"), noon, ErrOtherBrowser},
		"a browser without a cookie does not":     {"s1", "", noon, ErrOtherBrowser},
		"an unknown state":                        {"s3", Hash("bob"), noon, ErrUnknownState},
		"an expired one is unknown":               {"s2", Hash("bob"), noon.Add(RequestLifetime), ErrUnknownState},
		"an expired one says nothing of browsers": {"s2", Hash("alice"), noon.Add(RequestLifetime), ErrUnknownState},
		"an empty state":                          {"", Hash("bob"), noon, ErrUnknownState},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := a.PendingRequest(c.state, c.hash, c.now)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && r.State != c.state {
				t.Errorf("found %q", r.State)
			}
		})
	}
}

func TestRecordOfACodeEndsTheOtherRequests(t *testing.T) {
	a := Authorization{Offer: offer("t"), Requests: []Request{request("s1", "b"), request("s2", "b")},
		Outcome: &Outcome{State: "s0"}}
	a.Record(Response{Request: a.Requests[0], Code: "c"})
	if len(a.Requests) != 0 || a.Response == nil || a.Response.Code != "c" || a.Outcome != nil || a.Revision != 1 ||
		a.Offer == nil {
		t.Errorf("%+v", a)
	}
}

func TestRecordOfARefusalLeavesTheOtherRequests(t *testing.T) {
	a := Authorization{Requests: []Request{request("s1", "b"), request("s2", "b")}}
	a.Record(Response{Request: a.Requests[0], Reason: "AccessDenied"})
	if len(a.Requests) != 1 || a.Requests[0].State != "s2" {
		t.Errorf("left are %+v", a.Requests)
	}
}

func TestRecordLeavesACodeOnTheWireAlone(t *testing.T) {
	a := Authorization{Revision: 3, Response: &Response{Request: request("s1", "b"), Code: "c1", Claim: &Claim{ID: "x"}},
		Requests: []Request{request("s2", "b")}}
	a.Record(Response{Request: a.Requests[0], Code: "c2"})
	if a.Response.Code != "c1" || a.Revision != 3 || len(a.Requests) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestRepeatedCallbackIsRecognizedBeforeAndAfterTheOutcome(t *testing.T) {
	a := Authorization{Offer: offer("t"), Requests: []Request{request("s", "b")}}
	if _, err := a.Recorded("s", Hash("b")); !errors.Is(err, ErrUnknownState) {
		t.Errorf("before the response: %v", err)
	}
	a.Record(Response{Request: a.Requests[0], Code: "c"})
	check := func(when string) {
		if ticket, err := a.Recorded("s", Hash("b")); err != nil || ticket != "t" {
			t.Errorf("%s: ticket %q, %v", when, ticket, err)
		}
		if _, err := a.Recorded("s", Hash("other")); !errors.Is(err, ErrOtherBrowser) {
			t.Errorf("%s, another browser: %v", when, err)
		}
		if _, err := a.Recorded("s2", Hash("b")); !errors.Is(err, ErrUnknownState) {
			t.Errorf("%s, another state: %v", when, err)
		}
	}
	check("response")
	a.Finish("", "", noon)
	check("outcome")
}

func TestFinishAfterSuccessEndsTheOfferAndForgetsTheCode(t *testing.T) {
	a := Authorization{Offer: offer("t"), Requests: []Request{request("s", "b")}}
	a.Record(Response{Request: a.Requests[0], Code: "c"})
	a.Finish("", "", noon)
	if a.Response != nil || a.Offer != nil || a.Handled != 1 || !a.Outcome.Succeeded || !a.Outcome.At.Equal(noon) {
		t.Errorf("%+v", a)
	}
	if _, err := a.OpenOffer("t", noon); !errors.Is(err, ErrTicketGone) {
		t.Errorf("the used link: %v", err)
	}
}

func TestFinishAfterFailureLeavesTheOfferOpen(t *testing.T) {
	a := Authorization{Offer: offer("t"), Requests: []Request{request("s", "b")}}
	a.Record(Response{Request: a.Requests[0], Code: "c"})
	a.Finish("CodeRejected", "too late", noon)
	if _, err := a.OpenOffer("t", noon); err != nil {
		t.Errorf("the link: %v", err)
	}
	if o := a.Outcome; o.Succeeded || o.Reason != "CodeRejected" || o.Message != "too late" || o.Ticket != "t" ||
		o.BrowserHash != Hash("b") || o.State != "s" {
		t.Errorf("%+v", o)
	}
}

func TestFinishWithoutAResponseCountsItHandled(t *testing.T) {
	a := Authorization{Revision: 4, Handled: 3, Offer: offer("t")}
	a.Finish("", "", noon)
	if a.Handled != 4 || a.Outcome != nil || a.Offer == nil {
		t.Errorf("%+v", a)
	}
}

func TestReplaceKeepsRequestsOfTheSameBindingOnly(t *testing.T) {
	same, other, client := offer("new"), offer("new"), offer("new")
	other.Binding.Issuer = "https://other.example.com"
	client.Binding.Client.ClientID = "another"
	for name, c := range map[string]struct {
		next *Offer
		want int
	}{"same binding": {same, 1}, "another issuer": {other, 0}, "another client": {client, 0}} {
		t.Run(name, func(t *testing.T) {
			a := Authorization{Offer: offer("t"), Requests: []Request{request("s", "b")}}
			a.Replace(*c.next)
			if len(a.Requests) != c.want || a.Offer.Ticket != "new" {
				t.Errorf("%d requests, ticket %q", len(a.Requests), a.Offer.Ticket)
			}
			if _, err := a.OpenOffer("t", noon); !errors.Is(err, ErrTicketGone) {
				t.Errorf("the old link: %v", err)
			}
		})
	}
}

func TestRetiredTicketsAreRememberedNewestFirstAndBounded(t *testing.T) {
	var a Authorization
	for i := range maxRetired + 2 {
		a.Replace(*offer(fmt.Sprint(i)))
	}
	a.Withdraw()
	if len(a.Retired) != maxRetired || a.Retired[0] != Hash(fmt.Sprint(maxRetired+1)) {
		t.Errorf("%d retired, newest %q", len(a.Retired), a.Retired[0])
	}
	if _, err := a.OpenOffer("0", noon); !errors.Is(err, ErrUnknownTicket) {
		t.Errorf("a link of long ago: %v", err)
	}
}

func TestURLs(t *testing.T) {
	for external, want := range map[string][3]string{
		"": {"", "", ""},
		"https://connect.example.com": {"https://connect.example.com/connect/t",
			"https://connect.example.com/oauth/callback", "https://connect.example.com/oauth/client-metadata.json"},
		"https://connect.example.com/mcp/": {"https://connect.example.com/mcp/connect/t",
			"https://connect.example.com/mcp/oauth/callback", "https://connect.example.com/mcp/oauth/client-metadata.json"},
		"http://localhost:8082": {"http://localhost:8082/connect/t", "http://localhost:8082/oauth/callback", ""},
	} {
		if got := [3]string{ConnectURL(external, "t"), RedirectURI(external), ClientMetadataURL(external)}; got != want {
			t.Errorf("%s: %v", external, got)
		}
	}
	if got := [2]string{ClientMetadataJWTURL("https://connect.example.com/mcp/"),
		JWKSURL("https://connect.example.com/mcp/")}; got != [2]string{
		"https://connect.example.com/mcp/oauth/client-metadata-jwt.json", "https://connect.example.com/mcp/oauth/jwks.json"} {
		t.Errorf("of a client that signs: %v", got)
	}
	if got := ClientMetadataJWTURL("http://localhost:8082"); got != "" {
		t.Errorf("a document that nobody could fetch: %q", got)
	}
	if got := ConnectURL("https://connect.example.com", ""); got != "" {
		t.Errorf("a link without a ticket: %q", got)
	}
}
