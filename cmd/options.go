package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/mcp-connection/operator/internal/callback"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// usageError is a wrong flag value: one clear line, exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// options are the values of the flags.
type options struct {
	externalURL             string
	callbackBindAddress     string
	metricsBindAddress      string
	metricsPerObject        bool
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
	egressAllowAddrs        []netip.AddrPort
	egressProxyURL          *url.URL
	caFile                  string
	allowInsecureHTTP       bool
	logFormat               string
	logLevel                string
	logTo                   io.Writer // nil: stderr
	consent                 consentOptions
	uninstallCheck          bool
}

const (
	program          = "mcp-connection-operator"
	defaultNamespace = "mcp-connection-system"
)

// complete fills in what depends on the surroundings and checks the values.
func (o *options) complete(raw given) error {
	o.watchNamespaces = list(raw.watchNamespaces)
	var err error
	if o.egressProxyURL, err = mcpoauth.ParseProxyURL(raw.egressProxyURL); err != nil {
		return usageError{err}
	}
	if o.egressAllowCIDRs, o.egressAllowAddrs, err = mcpoauth.ParseAllowed(raw.egressAllowCIDRs); err != nil {
		return usageError{err}
	}
	if o.operatorNamespace == "" {
		o.operatorNamespace = podNamespace()
	}
	if err := checkExternalURL(o.externalURL); err != nil {
		return err
	}
	if err := o.consent.check(); err != nil {
		return err
	}
	if o.consent.userHeader != "" && callback.OnLoopback(o.externalURL) {
		return usageError{fmt.Errorf("--consent-user-header cannot go with the loopback --external-url %s: people reach it "+
			"by pods/portforward, past the proxy, and would write the header themselves", o.externalURL)}
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

// checkExternalURL refuses also the placeholders of documentation (RFC 2606, section 3), which are nobody's.
func checkExternalURL(text string) error {
	if err := callback.CheckExternalURL(text); err != nil {
		return usageError{fmt.Errorf("--external-url: %w", err)}
	}
	u, err := url.Parse(text)
	if err != nil {
		return usageError{errors.New("--external-url is not a URL")}
	}
	host := "." + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, placeholder := range []string{".example.com", ".example.org", ".example.net"} {
		if strings.HasSuffix(host, placeholder) {
			return usageError{fmt.Errorf("--external-url: %s is a placeholder: give the URL at which browsers reach the "+
				"callback Service, or leave the flag out until there is one", u.Hostname())}
		}
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
	encoder := zap.JSONEncoder(withTimes)
	if o.logFormat == "console" {
		encoder = zap.ConsoleEncoder(withTimes)
	}
	return zap.New(encoder, zap.WriteTo(o.logTo), zap.Level(o.level()), zap.StacktraceLevel(zapcore.DPanicLevel))
}

// withTimes has times in RFC 3339.
func withTimes(c *zapcore.EncoderConfig) {
	c.EncodeTime = func(t time.Time, to zapcore.PrimitiveArrayEncoder) {
		to.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
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
