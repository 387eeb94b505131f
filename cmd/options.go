package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/mcp-connection/operator/internal/callback"
)

// usageError is a wrong flag value: one clear line, exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// options are the values of the flags.
type options struct {
	externalURL             string
	callbackBindAddress     string
	metricsBindAddress      string
	healthProbeBindAddress  string
	leaderElect             bool
	leaseDuration           time.Duration
	renewDeadline           time.Duration
	retryPeriod             time.Duration
	operatorNamespace       string
	watchNamespaces         []string
	maxConcurrentReconciles int
	kubeAPIQPS              float64
	kubeAPIBurst            int
	egressAllowCIDRs        []netip.Prefix
	egressProxyURL          *url.URL
	caFile                  string
	allowInsecureHTTP       bool
	logFormat               string
	logLevel                string
	consent                 consentOptions
}

const defaultNamespace = "mcp-connection-system"

// parseFlags reads the command line. Its errors are one line each.
func parseFlags(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("mcp-connection-operator", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	config.RegisterFlags(fs)
	fs.StringVar(&o.externalURL, "external-url", "", "URL under which people reach the callback server: https, or http on loopback. Without it nobody can consent.")
	fs.StringVar(&o.callbackBindAddress, "callback-bind-address", ":8082", "Address of the callback server.")
	fs.StringVar(&o.metricsBindAddress, "metrics-bind-address", ":8443", "Address of the metrics server; 0 for none.")
	fs.StringVar(&o.healthProbeBindAddress, "health-probe-bind-address", ":8081", "Address of the health and readiness probes.")
	fs.BoolVar(&o.leaderElect, "leader-elect", false, "Elect a leader among several replicas.")
	fs.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long a lease is valid.")
	fs.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second, "How long the leader tries to renew its lease.")
	fs.DurationVar(&o.retryPeriod, "leader-elect-retry-period", 2*time.Second, "How long to wait between tries.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the credential Secrets. Default: the pod's, else "+defaultNamespace+".")
	fs.IntVar(&o.maxConcurrentReconciles, "max-concurrent-reconciles", 32, "Number of workers.")
	fs.Float64Var(&o.kubeAPIQPS, "kube-api-qps", 1000, "Requests per second to the API server.")
	fs.IntVar(&o.kubeAPIBurst, "kube-api-burst", 2000, "Requests to the API server at once.")
	fs.StringVar(&o.caFile, "ca-file", "", "PEM file of certificate authorities, added to the system's.")
	fs.BoolVar(&o.allowInsecureHTTP, "allow-insecure-http", false, "Allow http URLs of servers. Tokens can then be read on the network.")
	fs.StringVar(&o.logFormat, "log-format", "json", "json or console.")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info or error.")
	o.consent.register(fs)
	watch := fs.String("watch-namespaces", "", "Comma-separated namespaces to watch. Default: all.")
	cidrs := fs.String("egress-allow-cidrs", "", "Comma-separated address ranges that may be called although they are not public.")
	proxy := fs.String("egress-proxy-url", "", "URL of an http or https proxy to all public servers, with user name and password if it wants them. Ranges of --egress-allow-cidrs that are not public are called directly.")
	err := fs.Parse(args)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(os.Stdout)
			fs.PrintDefaults()
			return nil, err
		}
		return nil, usageError{err}
	}
	if fs.NArg() > 0 {
		return nil, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	o.watchNamespaces = list(*watch)
	if o.egressProxyURL, err = proxyURL(*proxy); err != nil {
		return nil, err
	}
	return o, o.complete(*cidrs)
}

// proxyURL is nil for none. The error does not repeat the text, which may hold a password.
func proxyURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(text, "?#") {
		return nil, usageError{errors.New("--egress-proxy-url is not a URL such as http://proxy.example.com:3128")}
	}
	return u, nil
}

// complete fills in what depends on the surroundings and checks the values.
func (o *options) complete(cidrs string) error {
	for _, text := range list(cidrs) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return usageError{fmt.Errorf("--egress-allow-cidrs: %q is not an address range such as 10.0.0.0/8", text)}
		}
		o.egressAllowCIDRs = append(o.egressAllowCIDRs, prefix.Masked())
	}
	if o.operatorNamespace == "" {
		o.operatorNamespace = podNamespace()
	}
	if err := callback.CheckExternalURL(o.externalURL); err != nil {
		return usageError{fmt.Errorf("--external-url: %w", err)}
	}
	if err := o.consent.check(); err != nil {
		return err
	}
	switch {
	case o.maxConcurrentReconciles < 1:
		return usageError{errors.New("--max-concurrent-reconciles must be at least 1")}
	case o.kubeAPIQPS <= 0 || o.kubeAPIBurst < 1:
		return usageError{errors.New("--kube-api-qps and --kube-api-burst must be positive")}
	case o.logFormat != "json" && o.logFormat != "console":
		return usageError{fmt.Errorf("--log-format must be json or console, not %q", o.logFormat)}
	case o.level() == zapcore.InvalidLevel:
		return usageError{fmt.Errorf("--log-level must be debug, info or error, not %q", o.logLevel)}
	case o.leaseDuration <= o.renewDeadline || o.renewDeadline <= o.retryPeriod:
		return usageError{errors.New("--leader-elect-lease-duration must exceed -renew-deadline, and that -retry-period")}
	}
	return nil
}

func (o *options) level() zapcore.Level {
	switch o.logLevel {
	case "debug":
		return zapcore.DebugLevel
	case "info":
		return zapcore.InfoLevel
	case "error":
		return zapcore.ErrorLevel
	}
	return zapcore.InvalidLevel
}

func (o *options) logger() logr.Logger {
	encoder := zap.JSONEncoder()
	if o.logFormat == "console" {
		encoder = zap.ConsoleEncoder()
	}
	return zap.New(encoder, zap.Level(o.level()), zap.StacktraceLevel(zapcore.DPanicLevel))
}

func podNamespace() string {
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	if raw, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace"); err == nil {
		if ns := strings.TrimSpace(string(raw)); ns != "" {
			return ns
		}
	}
	return defaultNamespace
}

// list splits a comma-separated value and drops empty entries.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
