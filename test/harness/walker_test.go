package harness

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestWalkerComesBackAsOftenAsItIsAsked(t *testing.T) {
	var seen []string
	comes := http.StatusBadGateway
	mux := http.NewServeMux()
	note := func(r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.Path+" from "+r.Header.Get("X-Forwarded-For"))
	}
	mux.HandleFunc("GET /connect/x", func(_ http.ResponseWriter, r *http.Request) { note(r) })
	mux.HandleFunc("POST /connect/x", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		http.SetCookie(w, &http.Cookie{Name: "browser", Value: "1"})
		http.Redirect(w, r, "http://"+r.Host+"/authorize", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		http.Redirect(w, r, "http://"+r.Host+"/oauth/callback", http.StatusFound)
	})
	mux.HandleFunc("GET /oauth/callback", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		if _, err := r.Cookie("browser"); err != nil {
			comes = http.StatusForbidden
		}
		w.WriteHeader(comes)
		comes = http.StatusSeeOther
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	comeBack, err := NewWalker(1, time.Minute).Approve(t.Context(), netip.MustParseAddr("192.0.2.7"), server.URL+
		"/connect/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := comeBack(t.Context()); err == nil {
		t.Error("a callback that answers 502 is taken for one that worked")
	}
	if err := comeBack(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{"GET /connect/x", "POST /connect/x", "GET /authorize", "GET /oauth/callback", "GET /oauth/callback"}
	for i := range want {
		want[i] += " from 192.0.2.7"
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the servers saw %q, want %q", seen, want)
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Pause(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if err := Pause(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

func TestFreeAddressesAreDifferent(t *testing.T) {
	all, err := FreeAddresses(20)
	slices.Sort(all)
	if err != nil || len(slices.Compact(all)) != 20 {
		t.Errorf("%v, %v", all, err)
	}
}
