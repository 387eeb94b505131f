package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
)

// errAnswered says that all that was asked for is printed.
var errAnswered = errors.New("help or the version was asked for")

// flagGroup is a part of --help.
type flagGroup struct {
	title string
	*pflag.FlagSet
}

// given holds the flags whose values need more than their type to be read.
type given struct {
	watchNamespaces, egressAllowCIDRs, egressProxyURL string
	help, version                                     bool
}

// flags are all that there are; parsing them fills in o and raw.
func (o *options) flags(raw *given) []flagGroup {
	var groups []flagGroup
	group := func(title string) *pflag.FlagSet {
		groups = append(groups, flagGroup{title, pflag.NewFlagSet(title, pflag.ContinueOnError)})
		return groups[len(groups)-1].FlagSet
	}
	fs := group("Consent")
	fs.StringVar(&o.externalURL, "external-url", "", "URL under which people reach the callback server: https, or http "+
		"on loopback. Without it nobody can consent.")
	fs.StringVar(&o.callbackBindAddress, "callback-bind-address", ":8082", "Address of the callback server.")
	o.consent.register(fs)

	fs = group("Servers")
	fs.StringVar(&raw.egressAllowCIDRs, "egress-allow-cidrs", "", "Comma-separated address ranges that may be called "+
		"although they are not public, and addresses with a port such as 10.0.0.5:6443: the ports of Kubernetes' own "+
		"(6443, 10250, 2379, 2380) are open in no other way.")
	fs.StringVar(&raw.egressProxyURL, "egress-proxy-url", "", "URL of an http or https proxy to all public servers, "+
		"with user name and password if it wants them. Ranges of --egress-allow-cidrs that are not public are "+
		"called directly.")
	fs.StringVar(&o.caFile, "ca-file", "", "PEM file of certificate authorities, added to the system's.")
	fs.BoolVar(&o.allowInsecureHTTP, "allow-insecure-http", false, "Allow http URLs of servers. Tokens can then be read "+
		"on the network.")

	fs = group("Kubernetes")
	inherited := flag.NewFlagSet("", flag.ContinueOnError)
	config.RegisterFlags(inherited)
	fs.AddGoFlagSet(inherited)
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the credential Secrets. Default: the "+
		"pod's, else "+defaultNamespace+".")
	fs.StringVar(&raw.watchNamespaces, "watch-namespaces", "", "Comma-separated namespaces to watch. Default: all.")
	fs.IntVar(&o.maxConcurrentReconciles, "max-concurrent-reconciles", 32, "Number of workers.")
	fs.Float64Var(&o.kubeAPIQPS, "kube-api-qps", 1000, "Requests per second to the API server.")
	fs.IntVar(&o.kubeAPIBurst, "kube-api-burst", 2000, "Requests to the API server at once.")

	fs = group("Leader election")
	fs.BoolVar(&o.leaderElect, "leader-elect", false, "Elect a leader among several replicas.")
	fs.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long a lease is valid.")
	fs.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second,
		"How long the leader tries to renew its lease.")
	fs.DurationVar(&o.retryPeriod, "leader-elect-retry-period", 2*time.Second, "How long to wait between tries.")

	fs = group("Logs, metrics and probes")
	fs.StringVar(&o.logFormat, "log-format", "json", "json or console.")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info or error.")
	fs.StringVar(&o.metricsBindAddress, "metrics-bind-address", ":8443", "Address of the metrics server; 0 for none.")
	fs.BoolVar(&o.metricsPerObject, "metrics-per-object", true, "Export metrics of single connections. "+
		"--metrics-per-object=false leaves their counts, for many thousands of them.")
	fs.StringVar(&o.healthProbeBindAddress, "health-probe-bind-address", ":8081",
		"Address of the health and readiness probes.")

	fs = group("This program")
	fs.BoolVarP(&raw.help, "help", "h", false, "Print this help.")
	fs.BoolVar(&o.uninstallCheck, "uninstall-check", false, "Fail while MCPConnections are left, and say what to do "+
		"about them; nothing else is done.")
	fs.BoolVar(&raw.version, "version", false, "Print the version.")
	return groups
}

// parseFlags reads the command line. Its errors are one line each; errAnswered is none.
func parseFlags(args []string) (*options, error) {
	o, raw := &options{}, given{}
	groups := o.flags(&raw)
	fs := pflag.NewFlagSet(program, pflag.ContinueOnError)
	for _, g := range groups {
		fs.AddFlagSet(g.FlagSet)
	}
	err := fs.Parse(withTwoDashes(args))
	switch {
	case err != nil:
		return nil, usageError{fmt.Errorf("%w%s", err, suggestion(err, fs))}
	case raw.help:
		fmt.Fprint(os.Stdout, help(groups))
		return nil, errAnswered
	case raw.version:
		fmt.Fprintln(os.Stdout, program, version)
		return nil, errAnswered
	case fs.NArg() > 0:
		return nil, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	return o, o.complete(raw)
}

// withTwoDashes takes -flag for --flag, as this program always did.
func withTwoDashes(args []string) []string {
	out := make([]string, 0, len(args))
	for _, arg := range args {
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}

// help is what --help prints.
func help(groups []flagGroup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s keeps OAuth tokens for remote MCP servers in Secrets, fresh.\n\nUsage:\n  %s [flags]\n", program,
		program)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%s:\n%s", g.title, g.FlagUsagesWrapped(120))
	}
	return b.String()
}

// suggestion names the flag that was probably meant; without one it says where all are listed.
func suggestion(err error, fs *pflag.FlagSet) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	name, best, least := unknown.GetSpecifiedName(), "", 0
	fs.VisitAll(func(f *pflag.Flag) {
		if d := distance(name, f.Name); best == "" || d < least {
			best, least = f.Name, d
		}
	})
	if least > max(2, len(name)/3) {
		return "; --help lists all flags"
	}
	return "; did you mean --" + best + "?"
}

// distance is how many letters are to be added, removed or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
