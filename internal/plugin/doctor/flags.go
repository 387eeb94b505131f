package doctor

import (
	"github.com/spf13/pflag"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// RuleFlags are those that decide what is called from here. Where the operator has a flag of the same name, it means
// the same.
type RuleFlags struct {
	// Rules as the flags say, after Complete.
	Rules Rules

	allow, proxy, caFile string
}

// Add adds the flags.
func (o *RuleFlags) Add(fs *pflag.FlagSet) {
	fs.BoolVar(&o.Rules.AllowInsecureHTTP, "allow-insecure-http", false, "Allow http URLs, as the operator's flag does.")
	fs.StringVar(&o.allow, "egress-allow-cidrs", "", "Address ranges that may be called although they are not public, "+
		"as the operator's flag does.")
	fs.StringVar(&o.proxy, "egress-proxy-url", "", "URL of a proxy that this machine reaches public servers by. The "+
		"operator's is not used.")
	fs.StringVar(&o.caFile, "ca-file", "", "PEM file of certificate authorities, added to the system's.")
}

// Complete reads the values. An error is one of usage.
func (o *RuleFlags) Complete(f *kube.Factory) (err error) {
	o.Rules.UserAgent = "mcp-connection-operator/" + f.Version
	if o.Rules.AllowCIDRs, o.Rules.AllowAddrs, err = mcpoauth.ParseAllowed(o.allow); err != nil {
		return &kube.ExitError{Code: kube.ExitUsage, Err: err}
	}
	if o.Rules.ProxyURL, err = mcpoauth.ParseProxyURL(o.proxy); err != nil {
		return &kube.ExitError{Code: kube.ExitUsage, Err: err}
	}
	if o.Rules.RootCAs, err = mcpoauth.LoadRootCAs(o.caFile); err != nil {
		return &kube.ExitError{Code: kube.ExitUsage, Err: err}
	}
	return nil
}
