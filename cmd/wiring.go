package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// shutdownTimeout bounds how long workers may finish what is in flight; the lease is given up after that.
const shutdownTimeout = 60 * time.Second

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

func (o *options) restConfig() (*rest.Config, error) {
	config, err := ctrl.GetConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no cluster is named: run this in a pod, or give --kubeconfig or the environment " +
			"variable KUBECONFIG")
	case err != nil:
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	config.QPS, config.Burst = float32(o.kubeAPIQPS), o.kubeAPIBurst
	config.UserAgent = userAgent()
	return config, nil
}

func (o *options) managerOptions(log logr.Logger) manager.Options {
	metrics := metricsserver.Options{BindAddress: o.metricsBindAddress, SecureServing: true,
		FilterProvider: filters.WithAuthenticationAndAuthorization}
	if o.metricsBindAddress == "0" {
		metrics = metricsserver.Options{BindAddress: "0"}
	}
	return manager.Options{
		Scheme:                        newScheme(),
		Logger:                        log,
		Metrics:                       metrics,
		HealthProbeBindAddress:        o.healthProbeBindAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "mcp-connection-operator",
		LeaderElectionNamespace:       o.operatorNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaseDuration,
		RenewDeadline:                 &o.renewDeadline,
		RetryPeriod:                   &o.retryPeriod,
		GracefulShutdownTimeout:       ptr.To(shutdownTimeout),
		Cache:                         o.cacheOptions(),
		Client: client.Options{
			Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
	}
}

// written selects the Secrets that the operator wrote, by its own label: the common one, app.kubernetes.io/managed-by,
// may be rewritten by whoever manages it.
func written() labels.Selector {
	exists, err := labels.NewRequirement(v1alpha1.LabelSecretType, selection.Exists, nil)
	if err != nil {
		panic("a label of the API is valid: " + err.Error())
	}
	return labels.NewSelector().Add(*exists)
}

// cacheOptions keep connections, and of Secrets only the metadata of those that the operator wrote.
func (o *options) cacheOptions() cache.Options {
	secrets := cache.ByObject{
		Label:     written(),
		Transform: cache.TransformStripManagedFields(),
	}
	connections := cache.ByObject{Transform: cache.TransformStripManagedFields()}
	if len(o.watchNamespaces) > 0 {
		connections.Namespaces = map[string]cache.Config{}
		secrets.Namespaces = map[string]cache.Config{o.operatorNamespace: {}}
		for _, namespace := range o.watchNamespaces {
			connections.Namespaces[namespace] = cache.Config{}
			secrets.Namespaces[namespace] = cache.Config{}
		}
	}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{credential.SecretMetadata(): secrets,
		&v1alpha1.MCPConnection{}: connections}}
}

// oauthClient makes the client for everything outside the cluster. The API server's own addresses are refused.
func (o *options) oauthClient(ctx context.Context, config *rest.Config,
	clusterAddrs func() []netip.AddrPort) (*mcpoauth.Client, error) {
	roots, err := mcpoauth.LoadRootCAs(o.caFile)
	if err != nil {
		return nil, usageError{err}
	}
	return mcpoauth.NewClient(mcpoauth.Options{
		UserAgent: userAgent(), AllowInsecureHTTP: o.allowInsecureHTTP, AllowCIDRs: o.egressAllowCIDRs,
		AllowAddrs: o.egressAllowAddrs,
		DenyAddrs:  apiServerAddresses(ctx, config), ClusterAddrs: clusterAddrs, RootCAs: roots, Now: systemClock.Now,
		ProxyURL: o.egressProxyURL,
	}), nil
}

// apiServerAddresses are those that this process itself uses, by kubeconfig and by the cluster's Service.
func apiServerAddresses(ctx context.Context, config *rest.Config) []netip.AddrPort {
	hosts := []string{net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))}
	if u, err := url.Parse(config.Host); err == nil && u.Hostname() != "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80"}[u.Scheme]
		}
		if port == "" {
			port = "443"
		}
		hosts = append(hosts, net.JoinHostPort(u.Hostname(), port))
	} else {
		hosts = append(hosts, config.Host)
	}
	var out []netip.AddrPort
	for _, hostPort := range hosts {
		host, portText, err := net.SplitHostPort(hostPort)
		port, portErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || portErr != nil || host == "" {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue // the client for the API server will say so
		}
		for _, addr := range addrs {
			out = append(out, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
		}
	}
	return out
}

// synced is ready once the caches are filled: before that the pages would not know a ticket.
func synced(mgr manager.Manager) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}
