package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestFlags(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // part of the one line; empty: accepted
	}{
		"no flag at all is enough":         {nil, ""},
		"ranges may be given in a list":    {[]string{"--egress-allow-cidrs=10.0.0.0/8, fd00::/8"}, ""},
		"an address may have a port":       {[]string{"--egress-allow-cidrs=10.0.0.0/8,10.0.0.5:6443,[fd00::5]:6443"}, ""},
		"a port alone is nothing":          {[]string{"--egress-allow-cidrs=:6443"}, "not an address range"},
		"a name with a port is no address": {[]string{"--egress-allow-cidrs=api.example:6443"}, "not an address range"},
		"an address is not a range":        {[]string{"--egress-allow-cidrs=10.0.0.1"}, "not an address range"},
		"an https proxy may want a password": {
			[]string{"--egress-proxy-url=https://operator:hunter2@proxy.example.com:3129/"}, ""},
		"a proxy of another kind is refused": {[]string{"--egress-proxy-url=socks5://proxy.example.com:1080"},
			"--egress-proxy-url is not a URL"},
		"a proxy without a scheme is refused": {[]string{"--egress-proxy-url=proxy.example.com:3128"},
			"--egress-proxy-url is not a URL"},
		"a proxy with a path is refused": {[]string{"--egress-proxy-url=http://proxy.example.com/pac"},
			"--egress-proxy-url is not a URL"},
		"a proxy's password is not repeated": {
			[]string{"--egress-proxy-url=http://operator:hunter2@proxy.example.com:x"}, "--egress-proxy-url is not a URL"},
		"the external URL is https or loopback": {[]string{"--external-url=http://connect.example.com"}, "--external-url"},
		"an unknown flag is named":              {[]string{"--no-such-flag"}, "no-such-flag; --help lists all flags"},
		"a misspelt flag is told the right one": {[]string{"--extrenal-url=https://connect.test"},
			"unknown flag: --extrenal-url; did you mean --external-url?"},
		"a flag may lack its last letter":      {[]string{"--watch-namespace=a"}, "did you mean --watch-namespaces?"},
		"one dash is enough":                   {[]string{"-log-level=debug", "-leader-elect", "-kube-api-qps", "5"}, ""},
		"one dash does not hide a wrong value": {[]string{"-log-level=verbose"}, "debug, info or error"},
		"the external URL may be anybody's":    {[]string{"--external-url=https://connect.myexample.com/mcp"}, ""},
		"a placeholder is nobody's": {[]string{"--external-url=https://mcp-connections.example.com"},
			"--external-url: mcp-connections.example.com is a placeholder"},
		"a placeholder has many spellings": {[]string{"--external-url=https://EXAMPLE.org.:8443/mcp"}, "is a placeholder"},
		"every domain of placeholders is known": {[]string{"--external-url=https://a.b.example.net"},
			"is a placeholder"},
		"an argument is refused":           {[]string{"serve"}, `unexpected argument "serve"`},
		"no worker at all is refused":      {[]string{"--max-concurrent-reconciles=0"}, "at least 1"},
		"a lease shorter than its renewal": {[]string{"--leader-elect-lease-duration=5s"}, "must exceed"},
		"a rate of nothing is refused":     {[]string{"--kube-api-qps=0"}, "must be positive"},
		"the log format is one of two":     {[]string{"--log-format=xml"}, "json or console"},
		"the log level is one of three":    {[]string{"--log-level=verbose"}, "debug, info or error"},
		"a proxy names the user in a header": {[]string{"--consent-user-header=x-forwarded-user",
			"--consent-proxy-cidrs=10.1.0.0/16"}, ""},
		"a user header from anywhere is refused": {[]string{"--consent-user-header=X-Forwarded-User"},
			"must be given together"},
		"a proxy that names nobody is refused": {[]string{"--consent-proxy-cidrs=10.1.0.0/16"}, "must be given together"},
		"a header has a name": {[]string{"--consent-user-header=a b",
			"--consent-proxy-cidrs=10.1.0.0/16"}, "not the name of a header"},
		"a loopback URL takes no user header": {[]string{"--external-url=http://localhost:8082",
			"--consent-user-header=U", "--consent-proxy-cidrs=10.1.0.0/16"}, "--consent-user-header cannot go with the " +
			"loopback --external-url http://localhost:8082"},
		"a loopback URL may be any loopback address": {[]string{"--external-url=http://127.8.9.10:8082",
			"--consent-user-header=U", "--consent-proxy-cidrs=10.1.0.0/16"}, "loopback"},
		"a loopback URL may be IPv6": {[]string{"--external-url=https://[::1]/mcp", "--consent-user-header=U",
			"--consent-proxy-cidrs=10.1.0.0/16"}, "loopback"},
		"a loopback URL has many spellings": {[]string{"--external-url=https://mcp.LocalHost.",
			"--consent-user-header=U", "--consent-proxy-cidrs=10.1.0.0/16"}, "loopback"},
		"a loopback URL without a user header is ok": {[]string{"--external-url=http://localhost:8082"}, ""},
		"a user header wants a public URL": {[]string{"--external-url=https://connect.test",
			"--consent-user-header=U", "--consent-proxy-cidrs=10.1.0.0/16"}, ""},
		"everybody is not a proxy": {[]string{"--consent-user-header=U",
			"--consent-proxy-cidrs=10.0.0.0/8,0.0.0.0/0"}, "everybody"},
		"everybody is not a trusted proxy": {[]string{"--trusted-proxy-cidrs=::/0"}, "--trusted-proxy-cidrs: ::/0"},
		"a proxy is an address range":      {[]string{"--trusted-proxy-cidrs=ingress"}, "not an address range"},
		"a duration without a unit says what it got": {[]string{"--leader-elect-retry-period=2"},
			"leader-elect-retry-period"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFlags(test.args)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") ||
				strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("got %q, want one line with %q", err, test.want)
			}
		})
	}
}

func TestHelpAndVersionAreAllThatIsPrinted(t *testing.T) {
	for _, test := range []struct {
		arg  string
		want []string // in this order
	}{
		{"--version", []string{"mcp-connection-operator " + version + "\n"}},
		{"--help", []string{"Usage:\n", "\nConsent:\n", "--external-url string", "\nServers:\n", "--ca-file",
			"\nKubernetes:\n", "--kubeconfig", "--watch-namespaces", "\nLeader election:\n", "\nLogs, metrics and probes:\n",
			"\nThis program:\n", "-h, --help", "--version"}},
		{"-h", []string{"Usage:\n"}},
		{"-help", []string{"Usage:\n"}},
	} {
		text := printed(t, test.arg)
		for _, part := range test.want {
			_, after, found := strings.Cut(text, part)
			if !found {
				t.Errorf("%s lacks %q in its place:\n%s", test.arg, part, printed(t, test.arg))
				break
			}
			text = after
		}
	}
}

func TestALogLineHasItsTimeInRFC3339(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		var line strings.Builder
		(&options{logLevel: "info", logFormat: format, logTo: &line}).logger().Info("said")
		before, _, _ := strings.Cut(line.String(), "Z")
		at := before[max(0, len(before)-len("2026-01-02T02:04:05.006")):] + "Z"
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			t.Errorf("%s: %v in %s", format, err, line.String())
		}
	}
}

func TestTheOperatorNamespaceIsThePodsOwn(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "elsewhere")
	o, err := parseFlags(nil)
	if err != nil || o.operatorNamespace != "elsewhere" {
		t.Fatalf("got %v, %v", o, err)
	}
	if o, err = parseFlags([]string{"--operator-namespace=named"}); err != nil || o.operatorNamespace != "named" {
		t.Fatalf("got %v, %v", o, err)
	}
}

func TestAWrongCAFileIsAUsageError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + ".missing"} {
		var usage usageError
		if _, err := (&options{caFile: path}).oauthClient(t.Context(), &rest.Config{}, nil); !errors.As(err, &usage) {
			t.Errorf("%s: got %v, want a usage error", path, err)
		}
	}
}

func TestTheAPIServersAddressesAreKnown(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	for host, want := range map[string]string{
		"https://127.0.0.1:6443": "127.0.0.1:6443",
		"https://[fd00::1]":      "[fd00::1]:443",
		"192.0.2.7:6443":         "192.0.2.7:6443",
	} {
		got := apiServerAddresses(context.Background(), &rest.Config{Host: host})
		if len(got) != 2 || got[0] != netip.MustParseAddrPort("10.96.0.1:443") || got[1] != netip.MustParseAddrPort(want) {
			t.Errorf("%s: got %v", host, got)
		}
	}
}
