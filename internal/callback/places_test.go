package callback

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

// small is a port with few places.
var small = capacity{pages: 4, documents: 2, public: 2, shared: 3}

// named is a connection by its name: the letter of its address and a number. Addresses s and t stand for many people.
type named string

func (named) Close() error { return nil }

func (n named) address() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n[0]}) }

func manyBehind(address netip.Addr) bool { return address.As4()[3] >= 's' }

// door keeps a record of who came and went.
type door struct {
	*places
	open               map[named]*place
	displaced, refused []string
}

// happen is one event: a1 comes, a1! is worked for, a1~ waits for its client, a1- goes.
func (d *door) happen(event string) {
	who := named(strings.TrimRight(event, "!~-"))
	switch event[len(who):] {
	case "!":
		d.open[who].busy()
	case "~":
		d.open[who].idle()
	case "-":
		d.open[who].leave()
	default:
		taken, displaced := d.take(who.address(), who)
		if out, ok := displaced.(named); ok {
			d.displaced = append(d.displaced, string(out))
		}
		if taken == nil {
			d.refused = append(d.refused, string(who))
			return
		}
		d.open[who] = taken
	}
}

func (d *door) String() string {
	var pages, reserve, parts []string
	for who, p := range d.open {
		switch {
		case p.gone:
		case p.reserved():
			reserve = append(reserve, string(who))
		default:
			pages = append(pages, string(who))
		}
	}
	slices.Sort(pages)
	slices.Sort(reserve)
	for _, part := range [][]string{append([]string{"pages"}, pages...), append([]string{"reserve"}, reserve...),
		append([]string{"displaced"}, d.displaced...), append([]string{"refused"}, d.refused...)} {
		if len(part) > 1 {
			parts = append(parts, strings.Join(part, " "))
		}
	}
	return strings.Join(parts, "; ")
}

func TestPlaces(t *testing.T) {
	const busy = "a1 a2 b1 b2 a1! a2! b1! b2! "
	for name, c := range map[string]struct{ events, want string }{
		"a connection stays while there is room":              {"a1 b1 c1", "pages a1 b1 c1"},
		"a place that was given back is free":                 {"a1 a2 a1- a3", "pages a2 a3"},
		"a public address at its limit displaces its own":     {"a1 a2 a3", "pages a2 a3; displaced a1"},
		"a public address that is busy throughout is refused": {"a1 a2 a1! a2! a3", "pages a1 a2; refused a3"},
		"a busy connection stays and the next idle one goes":  {"a1 a2 a1! a3", "pages a1 a3; displaced a2"},
		"an address of many people has a higher limit":        {"s1 s2 s3", "pages s1 s2 s3"},
		"an address of many people has a limit all the same":  {"s1 s2 s3 s4", "pages s2 s3 s4; displaced s1"},
		"an address of many people that is busy is left the reserve": {"s1 s2 s3 s1! s2! s3! s4",
			"pages s1 s2 s3; reserve s4"},
		"a full port has the address that has the most give way": {"b1 a1 a2 c1 d1", "pages a2 b1 c1 d1; displaced a1"},
		"a full port has the busy pass for the next most": {"a1 a2 a1! a2! b1 c1 d1",
			"pages a1 a2 c1 d1; displaced b1"},
		"a full port of equals has the longest idle give way": {"b1 a1 c1 d1 e1", "pages a1 c1 d1 e1; displaced b1"},
		"a connection that was just answered is the last to go": {"b1 a1 c1 d1 b1! b1~ e1",
			"pages b1 c1 d1 e1; displaced a1"},
		"a flood displaces itself only": {"b1 a1 a2 c1 a3 a4 a5",
			"pages a4 a5 b1 c1; displaced a1 a2 a3"},
		"a port that is busy throughout leaves the reserve": {busy + "c1", "pages a1 a2 b1 b2; reserve c1"},
		"a full reserve has the address that has the most give way": {busy + "c1 c2 d1",
			"pages a1 a2 b1 b2; reserve c2 d1; displaced c1"},
		"a reserve that is busy throughout is no help": {busy + "c1 c2 c1! c2! d1",
			"pages a1 a2 b1 b2; reserve c1 c2; refused d1"},
		"a public address has one limit for both": {"a1 a2 b1 s1 a1! a2! b1! s1! b2 b3",
			"pages a1 a2 b1 s1; reserve b3; displaced b2"},
		"a public address in the reserve has the less of the pages": {"a1 a2 b1 s1 a1! a2! b1! s1! b2 a1- b3",
			"pages a2 b1 s1; reserve b3; displaced b2"},
		"a reserve that is left is not gone back to":       {busy + "c1 a1- c1- c2", "pages a2 b1 b2 c2"},
		"a connection that lost its place changes nothing": {"a1 a2 a3 a1! a1~ a1- a4", "pages a3 a4; displaced a1 a2"},
		"a connection that leaves twice gives one place back": {"a1 a2 b1 c1 a1- a1- d1 e1",
			"pages b1 c1 d1 e1; displaced a2"},
		"a connection that is worked for twice is idle once it is": {"a1 a2 a1! a1! a1~ a3",
			"pages a1 a3; displaced a2"},
		"a connection that waits twice is idle once and since the second": {"a1 a2 a1~ a3", "pages a1 a3; displaced a2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &door{places: newPlaces(small, manyBehind), open: map[named]*place{}}
			for _, event := range strings.Fields(c.events) {
				d.happen(event)
			}
			if got := d.String(); got != c.want {
				t.Errorf("%s: got %q, want %q", c.events, got, c.want)
			}
		})
	}
}

// Whatever happens, in whatever order.
func TestPlacesAreNeverMoreThanThereAre(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- events, no secret
	d := &door{places: newPlaces(small, manyBehind), open: map[named]*place{}}
	for i := range 20000 {
		who, what := fmt.Sprintf("%c%d", "abcdst"[random.IntN(6)], random.IntN(9)),
			[]string{"", "", "!", "~", "-"}[random.IntN(5)]
		if what == "" && d.open[named(who)] != nil {
			continue // it is there
		}
		d.happen(who + what)
		held := map[byte]int{}
		pages, reserve := 0, 0
		for who, p := range d.open {
			switch {
			case p.gone:
				delete(d.open, who)
				continue
			case p.reserved():
				reserve++
			default:
				pages++
			}
			held[who[0]]++
		}
		if pages > small.pages || reserve > small.documents {
			t.Fatalf("event %d: %s", i, d)
		}
		for letter, n := range held {
			if letter < 's' && n > small.public || n > small.shared+small.documents {
				t.Fatalf("event %d: %c holds %d: %s", i, letter, n, d)
			}
		}
	}
}

func TestAnAddressOfManyPeople(t *testing.T) {
	s := newFake(t, behindProxy, func(o *Options, _ *credential.Offer) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	}).server
	for address, want := range map[string]bool{
		"10.1.2.3": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true, "127.0.0.66": true,
		"169.254.1.1": true, "100.64.0.1": true, "100.127.255.255": true,
		"::1": true, "fd00::1": true, "fe80::1": true, "203.0.113.7": true, "198.51.100.7": true,
		"172.32.0.1": false, "100.128.0.1": false, "100.63.255.255": false, "192.0.2.1": false, "2001:db8::1": false,
		"8.8.8.8": false,
	} {
		if got := s.shared(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	if s.shared(netip.Addr{}) {
		t.Error("an address that cannot be read is everybody's")
	}
}
