package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted is a directory whose file is a symbolic link, as in a mounted Secret, to a file that nobody watches.
func mounted(t *testing.T) (dir, file string) {
	t.Helper()
	dir, file = t.TempDir(), filepath.Join(t.TempDir(), "authorization")
	write(t, file, "Bearer one\n")
	if err := os.Symlink(file, filepath.Join(dir, "authorization")); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// write puts a file in place at once, so that nobody reads a half of it.
func write(t *testing.T, file, text string) {
	t.Helper()
	err := os.WriteFile(file+".new", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func watch(t *testing.T, server *url.URL, dir string) *WatchedToken {
	t.Helper()
	watched, err := WatchToken(server, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watched.Close() })
	return watched
}

// TestTheTokenGoesToNoOtherServer follows a redirect to a server that has another host.
func TestTheTokenGoesToNoOtherServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the other got "+r.Header.Get("Authorization"))
	}))
	defer other.Close()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := mounted(t)
	for name, transport := range map[string]http.RoundTripper{
		"FileToken": &FileToken{Server: endpoint, Dir: dir}, "WatchedToken": watch(t, endpoint, dir),
	} {
		response, err := (&http.Client{Transport: transport}).Post(server.URL, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(answer) != "the other got " || got != "Bearer one" {
			t.Errorf("%s: the server got %q, %s, %v", name, got, answer, err)
		}
	}
}

// TestWatchedTokenFollowsErrors: no event tells of these changes, and the first read after the error fails.
func TestWatchedTokenFollowsErrors(t *testing.T) {
	dir, file := mounted(t)
	watched := watch(t, &url.URL{}, dir)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case watched.watcher.Errors <- errors.New("events were lost"):
		case <-time.After(10 * time.Second):
			t.Fatal("nobody reads the watcher's errors")
		}
	}
	write(t, file, "Bearer two\n")
	deadline := time.Now().Add(10 * time.Second)
	for ; *watched.current.Load() != "Bearer two"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the token is still %s", *watched.current.Load())
		}
	}
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

// TestFileTokenClosesTheBodyWhenThereIsNoFile is what http.RoundTripper demands.
func TestFileTokenClosesTheBodyWhenThereIsNoFile(t *testing.T) {
	sent := &body{Reader: strings.NewReader("body")}
	request := httptest.NewRequest(http.MethodPost, "/", sent)
	request.Body = sent
	response, err := (&FileToken{Server: request.URL, Dir: t.TempDir()}).RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, os.ErrNotExist) || !sent.closed {
		t.Errorf("the error is %v, and the body was closed: %v", err, sent.closed)
	}
}
