package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// plainLoop writes what the operator writes, as the operator's ServiceAccount, and does nothing else.
type plainLoop struct {
	settings
	cluster *cluster
	like    *samples
	set     *kubernetes.Clientset
	dynamic dynamic.ResourceInterface
	units   []plainUnit
	answers *http.Server
	url     string
	client  *http.Client
	// seen is a watch of connections as the measured operator's run has one.
	seen watch.Interface
}

// plainUnit is one connection of the plain loop.
type plainUnit struct {
	connection        *v1alpha1.MCPConnection
	credential, token *corev1.Secret
	writes            int
}

// startPlainLoop starts an API server for the plain loop.
func startPlainLoop(ctx context.Context, s settings) (_ *plainLoop, err error) {
	f := &plainLoop{settings: s, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	if f.cluster, err = startCluster(ctx, s); err != nil {
		return nil, err
	}
	if err := f.connect(ctx); err != nil {
		return nil, err
	}
	if err := f.answer(); err != nil {
		return nil, err
	}
	if f.seen, err = f.cluster.watchConnections(ctx); err != nil {
		return nil, err
	}
	go func() {
		for range f.seen.ResultChan() {
			continue // it only has to be read
		}
	}()
	return f, nil
}

// connect makes clients that act as the operator's ServiceAccount.
func (f *plainLoop) connect(ctx context.Context) error {
	kubeconfig, err := f.cluster.OperatorKubeconfig(ctx)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config = unlimited(config)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	f.dynamic = client.Resource(v1alpha1.GroupVersion.WithResource("mcpconnections")).Namespace(f.namespace(0))
	config.ContentType = runtime.ContentTypeProtobuf
	f.set, err = kubernetes.NewForConfig(config)
	return err
}

// answer starts the server that every unit asks once.
func (f *plainLoop) answer() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.url = "http://" + listener.Addr().String() + "/token"
	f.answers = &http.Server{ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": oauthtest.Random(384),
				"refresh_token": oauthtest.Random(48), "expires_in": 3600})
		})}
	go func() { _ = f.answers.Serve(listener) }()
	return nil
}

func (f *plainLoop) stop() {
	if f.seen != nil {
		f.seen.Stop()
	}
	if f.answers != nil {
		_ = f.answers.Close()
	}
	if f.cluster != nil {
		f.cluster.stop()
	}
}

// grow makes room for n more connections and returns the first one's number.
func (f *plainLoop) grow(n int) int {
	first := len(f.units)
	f.units = append(f.units, make([]plainUnit, n)...)
	return first
}

// provision makes the writes of one new connection: what comes before the answer of the server, and what comes after.
func (f *plainLoop) provision(ctx context.Context, i int, r recipe) error {
	u := &f.units[i]
	u.connection = f.connection(i, f.like.connection.Spec.ServerURL)
	u.connection.Namespace = f.namespace(0)
	if err := f.cluster.api.Create(ctx, u.connection); err != nil {
		return err
	}
	u.credential = copyOf(f.like.credential, f.like.credential.Namespace, "mcp-connection-"+string(u.connection.UID))
	u.token = copyOf(f.like.token, u.connection.Namespace, u.connection.Name+"-token")
	return inOrder(
		times(r.Finalizer, func() error {
			return f.patch(ctx, u, map[string]any{"metadata": map[string]any{"finalizers": []string{v1alpha1.Finalizer}}})
		}),
		func() error { return f.create(ctx, &u.credential) },
		times(r.Credential-2, func() error { return f.update(ctx, u, &u.credential) }),
		times(r.Status-1, func() error {
			return f.patch(ctx, u, map[string]any{"status": f.like.connection.Status}, "status")
		}),
		func() error { return f.post(ctx) },
		times(min(1, r.Credential-1), func() error { return f.update(ctx, u, &u.credential) }),
		func() error { return f.create(ctx, &u.token) },
		func() error { return f.events(ctx, u, r.Events) },
		func() error { return f.patchStatus(ctx, u) },
	)
}

// refresh makes the writes of one refresh: all but one of the credential Secret's before the answer, the rest after it.
func (f *plainLoop) refresh(ctx context.Context, i int, r recipe) error {
	u := &f.units[i]
	return inOrder(
		times(r.Credential-1, func() error { return f.update(ctx, u, &u.credential) }),
		func() error { return f.post(ctx) },
		func() error { return f.update(ctx, u, &u.credential) },
		times(r.Token, func() error { return f.update(ctx, u, &u.token) }),
		func() error { return f.events(ctx, u, r.Events) },
		times(r.Status, func() error { return f.patchStatus(ctx, u) }),
	)
}

// times repeats an action.
func times(n int, f func() error) func() error {
	return func() error {
		for range n {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
}

// inOrder does one action after the other until one fails.
func inOrder(actions ...func() error) error {
	for _, action := range actions {
		if err := action(); err != nil {
			return err
		}
	}
	return nil
}
