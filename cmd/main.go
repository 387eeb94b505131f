// The operator: keeps OAuth tokens for remote MCP servers in Secrets, fresh.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/internal/callback"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/controller"
	"github.com/mcp-connection/operator/internal/credential"

	_ "golang.org/x/crypto/x509roots/fallback" // an image from scratch has no roots of its own
)

// version is set by the linker.
var version = "dev"

func main() {
	saveMemory()
	err := run(ctrl.SetupSignalHandler(), os.Args[1:])
	var usage usageError
	switch {
	case err == nil, errors.Is(err, errAnswered):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run wires the parts together and runs them until ctx ends.
func run(ctx context.Context, args []string) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	log := o.logger()
	ctrllog.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	config, err := o.restConfig()
	if err != nil {
		return err
	}
	if o.uninstallCheck {
		return o.checkUninstall(ctx, config)
	}
	if err := o.checkCluster(ctx, config, log); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, o.managerOptions(log))
	if err != nil {
		return fmt.Errorf("setting up the manager: %w", err)
	}
	secrets, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("setting up the client for Secrets: %w", err)
	}
	store := credential.NewStore(secrets, o.operatorNamespace)
	if err := o.claimScope(ctx, mgr, secrets, log); err != nil {
		return err
	}
	addresses := &clusterAddresses{client: secrets, log: log}
	addresses.read(ctx) // before anybody is called
	if err := mgr.Add(addresses); err != nil {
		return fmt.Errorf("setting up the reader of the API server's addresses: %w", err)
	}
	oauth, err := o.oauthClient(ctx, config, addresses.get)
	if err != nil {
		return err
	}
	typed, err := kubernetes.NewForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("setting up the client for discovery: %w", err)
	}
	reconciler := &controller.Reconciler{
		ClusterIssuer: controller.ClusterIssuer(typed.Discovery().RESTClient()),
		Client:        mgr.GetClient(), Metadata: mgr.GetCache(), Secrets: secrets, Store: store, OAuth: oauth,
		Recorder: mgr.GetEventRecorder("mcp-connection-operator"), Clock: systemClock,
		ExternalURL: o.externalURL, Claims: claims.Process{Holder: holder(), Pod: os.Getenv(envPodUID)},
		MaxConcurrentReconciles: o.maxConcurrentReconciles,
	}
	if err := addParts(mgr, o, reconciler, store); err != nil {
		return err
	}
	log.Info("starting", "version", version, "externalURL", o.externalURL, "operatorNamespace", o.operatorNamespace)
	err = mgr.Start(ctx)
	drain(reconciler, o.healthProbeBindAddress, log)
	return err
}

// claimScope claims what this installation serves, before anything is done there, and for as long as the manager runs.
func (o *options) claimScope(ctx context.Context, mgr ctrl.Manager, c client.Client, log logr.Logger) error {
	claimed := &scope{
		client: c, log: log, holder: o.operatorNamespace, namespaces: o.watchNamespaces, alone: !o.leaderElect, now: time.Now,
		sleep: sleep,
	}
	if err := claimed.claim(ctx); err != nil {
		return err
	}
	return mgr.Add(claimed)
}

// addParts adds the controller, the callback server and the probes to the manager.
func addParts(mgr ctrl.Manager, o *options, reconciler *controller.Reconciler, store *credential.Store) error {
	if err := reconciler.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	orphans := &controller.OrphanReconciler{Reconciler: reconciler, Namespaces: o.watchNamespaces}
	if err := orphans.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the controller of orphaned credentials: %w", err)
	}
	pages, err := callback.New(callback.Options{
		BindAddress: o.callbackBindAddress, ExternalURL: o.externalURL, Store: store,
		Secrets:     callback.NewLookup(mgr.GetCache(), o.operatorNamespace),
		Live:        callback.NewLookup(reconciler.Secrets, o.operatorNamespace),
		Connections: servedConnections{Reader: mgr.GetCache(), namespaces: o.watchNamespaces}, Now: systemClock.Now,
		MachineNow: time.Now, Log: mgr.GetLogger().WithName("callback"),
		ClientName: "mcp-connection-operator", Version: version, Audit: mgr.GetLogger().WithName("audit"),
		UserHeader: o.consent.userHeader, UserProxies: o.consent.userProxies, TrustedProxies: o.consent.trustedProxies,
		Access: callback.NewAccess(reconciler.Secrets),
	})
	if err != nil {
		return usageError{fmt.Errorf("--external-url: %w", err)}
	}
	if err := mgr.Add(pages); err != nil {
		return fmt.Errorf("setting up the callback server: %w", err)
	}
	if err := o.registerMetrics(mgr, metrics.Registry); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return fmt.Errorf("setting up the health probe: %w", err)
	}
	if err := mgr.AddReadyzCheck("readyz", synced(mgr)); err != nil {
		return fmt.Errorf("setting up the readiness probe: %w", err)
	}
	return nil
}

// userAgent names the project to servers.
func userAgent() string { return "mcp-connection-operator/" + version }
