package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

// kubelet answers what the API server asks a node for: ports of its pods, by the kubelet's own streaming code. Each
// port of a pod is some address of this machine.
type kubelet struct {
	server *httptest.Server

	mu sync.Mutex
	// ports are addresses by the number of a pod's port.
	ports map[int32]string
	// streams are connections that carry forwarded ports.
	streams []net.Conn
}

// startKubelet listens on a free port, with a certificate that nobody checks, as API servers do not by default.
func startKubelet(ports map[int32]string) *kubelet {
	k := &kubelet{ports: ports}
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.serve)
	k.server = httptest.NewUnstartedServer(mux)
	k.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	k.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.streams = append(k.streams, conn)
		}
	}
	k.server.StartTLS()
	return k
}

// port that the kubelet listens on.
func (k *kubelet) port() int { return k.server.Listener.Addr().(*net.TCPAddr).Port }

func (k *kubelet) serve(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, k, r.PathValue("pod"), "", options, time.Minute, time.Minute,
		[]string{"portforward.k8s.io"})
}

// PortForward copies between a stream and the address behind a port.
func (k *kubelet) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	k.mu.Lock()
	address := k.ports[port]
	k.mu.Unlock()
	if address == "" {
		return errors.New("nothing listens on this port of the pod")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	_ = stream.Close()
	<-sent
	return err
}

// drop ends the connections that carry forwarded ports, as the end of a pod does, and reports whether there was one.
func (k *kubelet) drop() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	dropped := len(k.streams) > 0
	for _, conn := range k.streams {
		_ = conn.Close()
	}
	k.streams = nil
	return dropped
}

// stop ends every connection.
func (k *kubelet) stop() {
	k.drop()
	k.server.CloseClientConnections()
	k.server.Close()
}
