package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// again is how long to wait before a connection that was lost is made anew.
const again = time.Second

// Forwarder leads ports of this machine to the operator.
type Forwarder struct {
	// Config and Client of the cluster.
	Config *rest.Config
	Client client.Client
	Clock  clock.Clock
	// Target is where the operator runs.
	Target Target
	// Say is told when a connection is lost and made anew, from another goroutine.
	Say func(string)
}

// Wanted reports whether a link leads to a port of this machine: it is http to a loopback address.
func Wanted(link *url.URL) bool {
	return link.Scheme == "http" && mcpoauth.IsLoopback(link.Hostname())
}

// Start listens where a link leads and returns once a connection to the operator stands, which lasts until the context
// ends. One that is lost, because the pod is gone, is made anew. The error says what to do if the port is taken.
func (f *Forwarder) Start(ctx context.Context, link *url.URL) error {
	port := 80
	if text := link.Port(); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("the link's port: %w", err)
		}
		port = number
	}
	if err := free(link.Hostname(), port); err != nil {
		return err
	}
	started := make(chan error, 1)
	go f.keep(ctx, link.Hostname(), port, started)
	select {
	case err := <-started:
		if err == nil || ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	return kube.Ended(ctx)
}

// free is an error if something listens on a port of this machine already. Where the host is localhost a browser may
// take either of its addresses, so both must be free.
func free(host string, port int) error {
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for i, host := range hosts {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case err == nil:
			_ = listener.Close()
		case errors.Is(err, syscall.EACCES):
			return kube.Exit(kube.ExitFailed, "this user may not listen on port %d, and the link leads there: lead it to the "+
				"operator by yourself and add --no-forward", port)
		case errors.Is(err, syscall.EADDRINUSE):
			return kube.Exit(kube.ExitFailed,
				"port %d of this machine is taken, and the link leads there: stop what listens on it, or, if that leads to the "+
					"operator already, add --no-forward", port)
		case i == 0: // a machine may be without IPv6; other systems have other numbers for a port in use
			return kube.Exit(kube.ExitFailed, "nothing can listen on port %d of this machine (%w), and the link leads there: "+
				"lead it to the operator by yourself and add --no-forward", port, err)
		}
	}
	return nil
}

// keep holds a connection as long as the context lives. The first one's fate goes to started.
func (f *Forwarder) keep(ctx context.Context, host string, port int, started chan<- error) {
	for first := true; ctx.Err() == nil; first = false {
		ready := make(chan struct{})
		ended := make(chan error, 1)
		go func() { ended <- f.once(ctx, host, port, ready) }()
		select {
		case <-ready:
			if first {
				started <- nil
			} else {
				f.Say("the port leads to the operator again")
			}
			err := <-ended
			if ctx.Err() == nil {
				f.Say("the connection to the operator's pod was lost, and is made anew (" + kube.Explain(orLost(err)).Error() + ")")
			}
		case err := <-ended:
			if first {
				started <- kube.Explain(orLost(err))
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-f.Clock.After(again):
		}
	}
}

// orLost is the error of a connection that ended, which none may have said.
func orLost(err error) error {
	if err == nil {
		return portforward.ErrLostConnectionToPod
	}
	return err
}

// once forwards until the connection or the context ends.
func (f *Forwarder) once(ctx context.Context, host string, port int, ready chan struct{}) error {
	at, err := f.Target.find(ctx, f.Client)
	if err != nil {
		return err
	}
	dialer, err := f.dialer(at.pod)
	if err != nil {
		return err
	}
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{host},
		[]string{fmt.Sprintf("%d:%d", port, at.port)}, ready, io.Discard, io.Discard)
	if err != nil {
		return err
	}
	if err := forwarder.ForwardPorts(); err != nil {
		return fmt.Errorf("forward to pod %s/%s: %w", f.Target.Namespace, at.pod, err)
	}
	return nil
}

// dialer speaks WebSocket, and SPDY where an older API server or a proxy does not.
func (f *Forwarder) dialer(pod string) (httpstream.Dialer, error) {
	config := rest.CopyConfig(f.Config)
	config.GroupVersion, config.APIPath = &corev1.SchemeGroupVersion, "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(f.Client.Scheme()).WithoutConversion()
	core, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	address := core.Post().Resource("pods").Namespace(f.Target.Namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(f.Config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(address, f.Config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(tunnel, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
