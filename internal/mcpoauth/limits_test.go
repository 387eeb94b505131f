package mcpoauth

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// TestANameIsNotAskedAgainBetweenItsCheckAndItsDial has a name whose first answer is allowed: only what was checked may
// be dialled.
func TestANameIsNotAskedAgainBetweenItsCheckAndItsDial(t *testing.T) {
	checked := httptest.NewServer(http.NotFoundHandler())
	defer checked.Close()
	target := checked.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(target)
	names := &rebinding{first: "127.0.0.1", later: "127.0.0.2"}
	d := &dialer{rules: egress{allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, loopback: true},
		resolver: names}
	conn, err := d.DialContext(t.Context(), "tcp", "rebinding.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.RemoteAddr().String(); got != target || names.asked.Load() != 1 {
		t.Errorf("connected to %s after %d answers, want %s after the first", got, names.asked.Load(), target)
	}
}

// TestAnAnswerThatNeverEndsIsReadForAMebibyte counts what is written until the operator hangs up. Buffers on the way
// take some.
func TestAnAnswerThatNeverEndsIsReadForAMebibyte(t *testing.T) {
	const most = 16 << 20
	s := oauthtest.New(t)
	written := make(chan int, 1)
	s.HandleTimes(oauthtest.TokenPath, 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n := 0
		for chunk := []byte(strings.Repeat("x", 64<<10)); n < 2*most; n += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
		written <- n
	})
	_, err := refreshWith(t, s, RefreshRequest{})
	wantError(t, err, Transient, TokenRequestFailing, "1 MiB")
	if n := <-written; n > most {
		t.Errorf("%d bytes were written", n)
	}
}

func TestAHeaderOfMoreThan64KiBIsNoAnswer(t *testing.T) {
	s := oauthtest.New(t)
	s.HandleTimes(oauthtest.TokenPath, 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 80<<10))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"a","token_type":"Bearer"}`))
	})
	if answer, err := refreshWith(t, s, RefreshRequest{}); err == nil {
		t.Errorf("it is taken: %v", answer)
	}
}
