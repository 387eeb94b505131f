package main

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/test/harness"
)

// ready makes a connection and gives the consent.
func (s *stage) ready(t *testing.T, name string, server *oauthtest.Server) {
	t.Helper()
	s.run(t.Context(), create(name, server, "--apply")...).want(t, 0)
	s.run(t.Context(), "authorize", name, "-n", namespace, "--timeout", "60s").want(t, 0)
}

// halfADay makes access tokens that are printed as expiring "in 12h", however slow the machine is.
func halfADay(c *oauthtest.Config) { c.AccessTokenLifetime = 12*time.Hour + 30*time.Minute }

// managers are who keeps fields of a connection.
func (s *stage) managers(t *testing.T, name string) []string {
	t.Helper()
	m, err := s.plane.Connection(t.Context(), types.NamespacedName{Namespace: namespace, Name: name})
	must(t, err)
	var names []string
	for _, entry := range m.ManagedFields {
		names = append(names, entry.Manager)
	}
	return names
}

func TestTheLifeOfAConnection(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t, halfADay)
	s.ready(t, "life", server)
	in := []string{"-n", namespace}
	run := func(arguments ...string) result { return s.run(t.Context(), append(arguments, in...)...) }
	run("wait", "life").want(t, 0).says(t, "agents/life is Ready")

	old := s.token(t, "life")
	run("refresh", "life").want(t, 0).says(t, "agents/life has a new token, expires in 12h")
	if now := s.token(t, "life"); now == old || !server.ValidAccessToken(now) {
		t.Error("the Secret holds no new token")
	}
	server.Handle(oauthtest.TokenPath, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	run("refresh", "life").want(t, 1).says(t, "agents/life was not refreshed: ", "503")
	run("status", "life").want(t, 0).says(t, "RefreshFailing", "Fails refresh: ", "tried again")
	server.Handle(oauthtest.TokenPath, nil)

	run("reauthorize", "life").want(t, 0).says(t, "kubectl mcpc authorize life -n agents")
	if !server.ValidAccessToken(s.token(t, "life")) {
		t.Error("the old token was given up")
	}
	run("suspend", "life").want(t, 0).says(t, "agents/life is suspended")
	run("authorize", "life").want(t, 1).says(t, "kubectl mcpc: agents/life is suspended: kubectl mcpc resume "+
		"life -n agents")
	run("refresh", "life").want(t, 1).says(t, "agents/life is suspended: kubectl mcpc resume life -n agents")
	run("resume", "life").want(t, 0).says(t, "agents/life is resumed")

	run("token", "life").want(t, 2).says(t, "add --force")
	header, value, _ := strings.Cut(strings.TrimSpace(run("token", "life", "--force").want(t, 0).out), ": Bearer ")
	if header != "Authorization" || value != s.token(t, "life") {
		t.Errorf("the header is %s", header)
	}

	run("revoke", "life").want(t, 2).says(t, "nobody is there to be asked", "add --yes")
	run("revoke", "life", "--yes").want(t, 0).says(t, "has no grant any more, and the token Secret is empty",
		"kubectl mcpc authorize life -n agents")
	if s.token(t, "life") != "" || server.ValidAccessToken(value) {
		t.Error("the token was not revoked")
	}
	run("token", "life", "--force").want(t, 1).says(t, "agents/life has no valid token; ConsentRequired")
	if names := s.managers(t, "life"); !slices.Contains(names, kube.FieldManager) || slices.Contains(names, "kubectl") {
		t.Errorf("fields are kept by %v", names)
	}
}

func TestAGrantThatItsServerDoesNotRevokeIsTold(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t, func(c *oauthtest.Config) { c.NoRevocation = true })
	s.ready(t, "unrevoked", server)
	s.run(t.Context(), "revoke", "unrevoked", "-n", namespace, "--yes").want(t, 1).
		says(t, "the token Secret of agents/unrevoked is empty, but: The grant could not be revoked",
			"has no revocation endpoint")
}

func TestNothingToRefreshEndsWithOne(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("bare", server, "--apply")...).want(t, 0)
	s.run(t.Context(), "refresh", "bare", "-n", namespace).want(t, 1).says(t,
		"agents/bare has nothing to refresh, so nothing was done")
}

func TestAWrongSpecEndsAWaitAtOnce(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t, func(c *oauthtest.Config) { c.NoRegistration = true })
	s.run(t.Context(), create("stuck", server)...).want(t, 1).says(t, "registers no client by itself",
		"--credentials-secret NAME")
	s.run(t.Context(), create("stuck", server, "--apply", "--no-discovery")...).want(t, 0)
	for _, verb := range []string{"wait", "authorize"} {
		s.run(t.Context(), verb, "stuck", "-n", namespace).want(t, 1).says(t,
			"agents/stuck waits for an edit; NoRegistrationMethod: ")
	}
	s.run(t.Context(), "list", "-A").want(t, 0).says(t, "NAMESPACE NAME READY REASON",
		"agents stuck False NoRegistrationMethod")
}

func TestOneWithoutRightsGetsOneLine(t *testing.T) {
	t.Parallel()
	s := onStage(t)
	for _, arguments := range [][]string{{"list"}, {"status", "life"}, {"authorize", "life"},
		{"create", "x", "https://mcp.example.com/mcp", "--no-discovery", "--apply"}} {
		r := s.run(t.Context(), append(arguments, "-n", namespace, "--as", "nobody")...).want(t, 1)
		r.says(t, `User "nobody" cannot`, "ask for that right")
		if strings.Count(r.err, "\n") != 1 {
			t.Errorf("%v: more than one line: %s", arguments, r.err)
		}
	}
}

func TestAMissingNamespaceIsToldWithTheCommandThatMakesIt(t *testing.T) {
	t.Parallel()
	s := onStage(t)
	s.run(t.Context(), "create", "x", "https://mcp.example.com/mcp", "--no-discovery", "--apply", "-n", "nowhere").want(t,
		1).
		says(t, "there is no namespace nowhere: kubectl create namespace nowhere")
	s.run(t.Context(), "status", "nope", "-n", namespace).want(t, 1).says(t, `"nope" not found`)
}

func TestTheContextThatIsNamedIsUsed(t *testing.T) {
	t.Parallel()
	s, server := onStage(t), oauthtest.New(t)
	s.run(t.Context(), create("here", server, "--apply")...).want(t, 0)
	config, err := clientcmd.LoadFromFile(s.plane.Kubeconfig)
	must(t, err)
	good := config.Contexts[config.CurrentContext].DeepCopy()
	good.Namespace = namespace
	config.Contexts["good"] = good
	dead := config.Clusters[good.Cluster].DeepCopy()
	dead.Server = "https://127.0.0.1:1"
	config.Clusters["dead"] = dead
	config.Contexts["dead"] = good.DeepCopy()
	config.Contexts["dead"].Cluster = "dead"
	config.CurrentContext = "dead"
	file := s.plane.Dir + "/two.kubeconfig"
	must(t, clientcmd.WriteToFile(*config, file))
	defer func() { must(t, os.Remove(file)) }()
	with := func(arguments ...string) result {
		return s.run(t.Context(), append(arguments, "--kubeconfig", file)...)
	}
	with("list").want(t, 1).says(t, "kubectl mcpc: the cluster's API server does not answer (127.0.0.1:1): ", "--context")
	with("list", "--context", "good").want(t, 0).says(t, "here")
	with("list", "--context", "other").want(t, 2).says(t, "the kubeconfig has no such context",
		"context: other): kubectl config get-contexts")
	// kubectl asks for completions by a program on the PATH.
	completed := func(arguments ...string) string {
		return ended(s.command(t.Context(), append([]string{"__complete", "mcpc"}, arguments...)...)).out
	}
	if out := completed("status", "--kubeconfig", file, "--context", "good",
		"h"); !slices.Contains(strings.Split(out, "\n"), "here") {
		t.Errorf("names are not completed: %s", out)
	}
	if out := completed("list", "--kubeconfig", file, "--context", "g"); !slices.Contains(strings.Split(out, "\n"),
		"good") {
		t.Errorf("contexts are not completed: %s", out)
	}
	if out := completed("au"); !strings.Contains(out, "authorize\t") {
		t.Errorf("verbs are not completed: %s", out)
	}
}

func TestTheOperatorsMissingAddressIsToldWithTheCommandThatSetsIt(t *testing.T) {
	s, server := onStage(t), oauthtest.New(t)
	must(t, s.operator.Stop())
	other, err := harness.StartOperator(t.Context(), s.plane, "--external-url=")
	must(t, err)
	defer func() {
		must(t, other.Stop())
		must(t, s.operator.Start(context.Background()))
	}()
	s.run(t.Context(), create("nowhere", server, "--apply")...).want(t, 0)
	r := s.run(t.Context(), "authorize", "nowhere", "-n", namespace, "--timeout", "60s").want(t, 1)
	last := lastLine(r.err)
	if !strings.Contains(last, "(ConsentUnavailable)") ||
		!strings.Contains(last, "kubectl patch deployment mcp-connection-controller-manager -n mcp-connection-system "+
			"--type=json -p ") {
		t.Error(last)
	}
	_, command, _ := strings.Cut(last, "forwards by itself: ")
	if out := ended(s.shell(t.Context(), command)); out.code != 0 {
		t.Errorf("the command cannot be pasted: %s", out.err)
	}
}
