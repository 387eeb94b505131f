package main

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// FileToken sends with each request to the server what the key authorization of a mounted token Secret holds then.
type FileToken struct {
	// Server is the MCP server's URL. Only requests to its scheme and host get the token: the server may redirect to
	// others.
	Server *url.URL
	// Dir is where the Secret is mounted.
	Dir string
	// Base sends the requests; nil is http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip reads the file and sends the request. It implements http.RoundTripper.
func (t *FileToken) RoundTrip(request *http.Request) (*http.Response, error) {
	authorization, err := readToken(t.Dir)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // http.RoundTripper demands it
		}
		return nil, err
	}
	return send(request, t.Server, authorization, t.Base)
}

// WatchedToken sends what the file held when the directory last changed, to the server only: no read per request.
type WatchedToken struct {
	Base http.RoundTripper

	server  *url.URL
	current atomic.Pointer[string]
	watcher *fsnotify.Watcher
}

// WatchToken watches the directory, not the file: kubelet swaps a symbolic link in it. Close ends it.
func WatchToken(server *url.URL, dir string) (*WatchedToken, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	t := &WatchedToken{server: server, watcher: watcher}
	if err := watcher.Add(dir); err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	authorization, err := readToken(dir) // after the watch has begun, so that no change is missed
	if err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	t.current.Store(&authorization)
	go t.follow(dir)
	return t, nil
}

// follow reads the file at each event, and at each error, for an error may stand for lost events. It ends with the
// watcher.
func (t *WatchedToken) follow(dir string) {
	var again <-chan time.Time
	for open := true; ; {
		select {
		case _, open = <-t.watcher.Events:
		case _, open = <-t.watcher.Errors: // the watcher waits until somebody reads it
		case <-again:
		}
		if !open {
			return
		}
		again = nil
		if authorization, err := readToken(dir); err != nil {
			again = time.After(time.Second)
		} else {
			t.current.Store(&authorization)
		}
	}
}

// Close ends the watch.
func (t *WatchedToken) Close() error { return t.watcher.Close() }

// RoundTrip implements http.RoundTripper.
func (t *WatchedToken) RoundTrip(request *http.Request) (*http.Response, error) {
	return send(request, t.server, *t.current.Load(), t.Base)
}

func readToken(dir string) (string, error) {
	text, err := fs.ReadFile(os.DirFS(dir), "authorization")
	return strings.TrimSpace(string(text)), err
}

func send(request *http.Request, server *url.URL, authorization string,
	base http.RoundTripper) (*http.Response, error) {
	if request.URL.Scheme == server.Scheme && request.URL.Host == server.Host {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", authorization)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(request)
}
