package main

import (
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// FileToken sends with each request what the key authorization of a mounted token Secret holds then.
type FileToken struct {
	// Dir is where the Secret is mounted.
	Dir string
	// Base sends the requests; nil is http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip reads the file and sends the request. It implements http.RoundTripper.
func (t *FileToken) RoundTrip(request *http.Request) (*http.Response, error) {
	authorization, err := readToken(t.Dir)
	if err != nil {
		return nil, err
	}
	return send(request, authorization, t.Base)
}

// WatchedToken sends what the file held when the directory last changed: no read per request.
type WatchedToken struct {
	Base http.RoundTripper

	current atomic.Pointer[string]
	watcher *fsnotify.Watcher
}

// WatchToken watches the directory, not the file: kubelet swaps a symbolic link in it. Close ends it.
func WatchToken(dir string) (*WatchedToken, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	t := &WatchedToken{watcher: watcher}
	if err := watcher.Add(dir); err != nil {
		return nil, err
	}
	authorization, err := readToken(dir) // after the watch has begun, so that no change is missed
	if err != nil {
		return nil, err
	}
	t.current.Store(&authorization)
	go func() {
		for range watcher.Events {
			if authorization, err := readToken(dir); err == nil {
				t.current.Store(&authorization)
			}
		}
	}()
	return t, nil
}

// Close ends the watch.
func (t *WatchedToken) Close() error { return t.watcher.Close() }

// RoundTrip implements http.RoundTripper.
func (t *WatchedToken) RoundTrip(request *http.Request) (*http.Response, error) {
	return send(request, *t.current.Load(), t.Base)
}

func readToken(dir string) (string, error) {
	text, err := fs.ReadFile(os.DirFS(dir), "authorization")
	return strings.TrimSpace(string(text)), err
}

func send(request *http.Request, authorization string, base http.RoundTripper) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", authorization)
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(request)
}
