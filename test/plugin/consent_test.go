package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestTwoCommandsLeadFromAnEmptyNamespaceToATokenInASecret(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t, halfADay)
	r := s.run(t.Context(), create("first", server, "--apply")...).want(t, 0)
	r.says(t, "names the authorization server "+server.Issuer(), "the operator registers one by itself",
		"scopes: mcp:read mcp:write", "agents/first is applied")
	r = s.run(t.Context(), "authorize", "first", "-n", namespace, "--timeout", "60s").want(t, 0)
	r.says(t, "localhost:"+s.port+" leads to the operator", "agents/first is Ready: the token is in Secret first-token, "+
		"expires in 12h")
	if token := s.token(t, "first"); !server.ValidAccessToken(token) {
		t.Error("the Secret holds no valid token")
	}
}

func TestAConsentThatIsDeniedEndsWithFourEachTime(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("denied", server, "--apply")...).want(t, 0)
	server.Deny("access_denied", "")
	s.run(t.Context(), "authorize", "denied", "-n", namespace, "--timeout", "60s").want(t, 4).says(t, "agents/denied: ",
		"access_denied")
	s.run(t.Context(), "authorize", "denied", "-n", namespace, "--timeout", "60s").want(t, 4).says(t,
		"a new link is asked for", "access_denied")
	s.run(t.Context(), "wait", "denied", "-n", namespace).want(t, 4)
}

func TestAConsentThatIsRefusedOtherwiseEndsWithOne(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("refused", server, "--apply")...).want(t, 0)
	server.Deny("invalid_scope", "")
	s.run(t.Context(), "authorize", "refused", "-n", namespace, "--timeout", "60s").want(t, 1).says(t, "invalid_scope")
	server.Deny("", "")
	s.run(t.Context(), "authorize", "refused", "-n", namespace, "--timeout", "60s").want(t, 0).says(t,
		"a new link is asked for", "agents/refused is Ready")
}

func TestATakenPortEndsWithOne(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("taken", server, "--apply")...).want(t, 0)
	listener, err := net.Listen("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	r := s.run(t.Context(), "authorize", "taken", "-n", namespace, "--timeout", "60s").want(t, 1)
	r.says(t, "kubectl mcpc: port "+s.port+" of this machine is taken", "--no-forward")
	if r.out != "" {
		t.Errorf("a link that leads elsewhere was printed: %s", r.out)
	}
}

func TestNoOperatorToForwardToEndsWithOne(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("astray", server, "--apply")...).want(t, 0)
	s.run(t.Context(), "authorize", "astray", "-n", namespace, "--operator-namespace", "default").want(t, 1).
		says(t, "namespace default has no running pod of the operator", "--operator-namespace")
	s.run(t.Context(), "authorize", "astray", "-n", namespace, "--operator-service", "nope").want(t, 1).says(t,
		`services "nope" not found`)
}

func TestNobodyActsUntilTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("late", server, "--apply")...).want(t, 0)
	r := s.run(t.Context(), "authorize", "late", "-n", namespace, "--no-open", "--no-forward", "--timeout", "3s").want(t,
		3)
	r.says(t, "agents/late: --timeout passed; ConsentRequired: ")
	if !strings.HasPrefix(r.out, "http://localhost:"+s.port+"/connect/") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("standard output is not the link alone: %q", r.out)
	}
	s.run(t.Context(), "wait", "late", "-n", namespace, "--timeout", "1s").want(t, 3).says(t,
		"--timeout passed; ConsentRequired: ")
}

func TestWithoutABrowserTheLinkIsPrintedAndThePortIsForwardedAnew(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("headless", server, "--apply")...).want(t, 0)
	opener, hidden := filepath.Join(s.bin, "xdg-open"), filepath.Join(s.bin, "hidden")
	must(t, os.Rename(opener, hidden))
	defer func() { must(t, os.Rename(hidden, opener)) }()
	b := s.background(t, "authorize", "headless", "-n", namespace, "--operator-service", "mcp-connection-callback",
		"--timeout", "60s")
	link := b.line(t, "http://")
	b.await(t, "no browser could be opened: open the link by yourself")
	if !s.kubelet.drop() {
		t.Error("no connection to the kubelet carried the forwarded port")
	}
	b.await(t, "was lost, and is made anew")
	b.await(t, "the port leads to the operator again")
	if consent(link) != 0 {
		t.Errorf("the link could not be followed over the port that was forwarded anew: %s", b.err.String())
	}
	b.end(t).want(t, 0).says(t, "agents/headless is Ready")
}

func TestALinkThatIsReplacedWhileWaitingIsShownAnew(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("replaced", server, "--apply")...).want(t, 0)
	b := s.background(t, "authorize", "replaced", "-n", namespace, "--no-open", "--timeout", "60s")
	old := b.line(t, "http://")
	s.run(t.Context(), "reauthorize", "replaced", "-n", namespace).want(t, 0).says(t,
		"has a link for a new consent: kubectl mcpc authorize replaced -n agents")
	b.await(t, "the link was replaced; this is the new one")
	link := b.line(t, "http://")
	if link == old || consent(link) != 0 {
		t.Errorf("the new link cannot be followed: %s after %s", link, old)
	}
	b.end(t).want(t, 0)
}

func TestAConnectionThatIsDeletedMeanwhileEndsWithOne(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("gone", server, "--apply")...).want(t, 0)
	b := s.background(t, "authorize", "gone", "-n", namespace, "--no-open", "--no-forward", "--timeout", "60s")
	b.line(t, "http://")
	if _, err := s.plane.Kubectl(t.Context(), "delete", "mcpc", "gone", "-n", namespace); err != nil {
		t.Fatal(err)
	}
	r := b.end(t).want(t, 1)
	if last := lastLine(r.err); last != "kubectl mcpc: MCPConnection agents/gone was deleted meanwhile" &&
		last != "kubectl mcpc: MCPConnection agents/gone is being deleted" {
		t.Error(last)
	}
}

func TestASignalEndsAWaitInOneLine(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("stopped", server, "--apply")...).want(t, 0)
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGHUP: 129, syscall.SIGTERM: 143} {
		b := s.background(t, "authorize", "stopped", "-n", namespace, "--no-open", "--no-forward")
		b.line(t, "http://")
		must(t, b.cmd.Process.Signal(signal))
		if last := lastLine(b.end(t).want(t, code).err); last != "kubectl mcpc: interrupted" {
			t.Error(last)
		}
	}
}
