package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// sample is the manifest that the demo applies, with its own server's URL.
const sample = "config/samples/authorization-code.yaml"

// patience bounds what takes seconds; a person's consent may take a day, as long as the link lives.
const (
	patience        = time.Minute
	personsPatience = 24 * time.Hour
)

// story holds the parts on stage.
type story struct {
	*screen
	interactive bool
	kubeconfig  string

	plane      *harness.ControlPlane
	operator   *harness.Operator
	auth       *authServer
	server     *harness.MCPServer
	key        client.ObjectKey
	first      map[string]string // the token Secret as it was after the consent
	latest     map[string]string // and as it is now
	cleanupErr error
}

func newStory(interactive bool, kubeconfig string) *story {
	return &story{screen: newScreen(), interactive: interactive, kubeconfig: kubeconfig}
}

// tell plays all steps in order.
func (s *story) tell(ctx context.Context) error {
	fmt.Println(s.bold("mcp-connection-operator: apply an MCPConnection, consent once, mount a token that " +
		"never goes stale"))
	if s.kubeconfig == "" {
		if _, err := harness.Assets(ctx); err != nil { // a cold build of the control plane has no limit
			return err
		}
	}
	parent := ctx
	if !s.interactive {
		limited, cancel := context.WithTimeout(ctx, unattendedLimit)
		defer cancel()
		ctx = limited
	}
	for _, step := range []func(context.Context) error{s.setUp, s.apply, s.consent, s.showToken, s.callTool,
		s.watchRefreshes} {
		if err := step(ctx); err != nil {
			return interrupted(ctx, err)
		}
	}
	if s.interactive {
		s.refreshesUntilInterrupt(ctx)
		kept, cancel := context.WithTimeout(context.WithoutCancel(parent), patience)
		defer cancel()
		return s.deleteConnection(kept)
	}
	for _, step := range []func(context.Context) error{s.callAgain, s.deleteConnection} {
		if err := step(ctx); err != nil {
			return interrupted(ctx, err)
		}
	}
	return nil
}

// interrupted names the reason for which everything was stopped, if that is what happened.
func interrupted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("interrupted: %w", cause)
	}
	return err
}

// setUp starts every part.
func (s *story) setUp(ctx context.Context) (err error) {
	s.step("The stage: a Kubernetes API, the operator, and an MCP server that wants a token")
	if s.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Kubeconfig: s.kubeconfig,
		Logf: s.progress}); err != nil {
		return err
	}
	s.key.Namespace = "mcp-demo"
	if s.plane.Existing {
		s.key.Namespace += "-" + strings.ToLower(time.Now().UTC().Format("150405"))
	}
	if err := s.plane.Namespace(ctx, s.key.Namespace); err != nil {
		return err
	}
	if s.server, err = harness.ListenMCPServer(); err != nil {
		return err
	}
	s.auth = newAuthServer(s.server.URL, tokenLifetime)
	s.server.Start(harness.MCPServerOptions{
		Name: "demo-server", Issuer: s.auth.Issuer(), Scopes: []string{demoScope},
		Verify: harness.TokensOf(s.auth.Server, demoUser),
	})
	if err := harness.Unauthorized(ctx, s.server.URL, nil); err != nil {
		return err
	}
	s.say("MCP server            %s (401 without a token)", s.server.URL)
	s.say("authorization server  %s (%s tokens, rotating refresh tokens)", s.auth.Issuer(), tokenLifetime)
	if s.operator, err = harness.StartOperator(ctx, s.plane); err != nil {
		return err
	}
	s.say("operator              %s (not an administrator: it may not list nodes)", s.operator.ExternalURL)
	if s.interactive {
		s.say("Look around as administrator, from another terminal:")
		s.block(s.lookAround())
	}
	return nil
}

// lookAround is what to paste into another terminal.
func (s *story) lookAround() string {
	return strings.Join([]string{
		"export KUBECONFIG='" + s.plane.Kubeconfig + "'",
		"export PATH=\"$PATH:" + filepath.Dir(s.plane.KubectlPath()) + "\" # for kubectl, if there is none",
		"kubectl get mcpc -A --watch",
		"kubectl describe mcpc -n " + s.key.Namespace,
		"kubectl get secrets,events -n " + s.key.Namespace,
	}, "\n")
}

// progress shows what takes a while.
func (s *story) progress(format string, args ...any) { s.say("· "+format, args...) }

// apply applies the sample and shows what it asks for.
func (s *story) apply(ctx context.Context) error {
	s.step("A platform engineer applies a connection")
	root, err := harness.RepoRoot()
	if err != nil {
		return err
	}
	manifest, err := harness.ManifestWith(filepath.Join(root, sample), map[string]string{"serverURL": s.server.URL})
	if err != nil {
		return err
	}
	connection, err := harness.ParseConnection(manifest)
	if err != nil {
		return err
	}
	s.key.Name = connection.Name
	s.block(manifest)
	out, err := s.plane.Apply(ctx, s.key.Namespace, manifest)
	if err != nil {
		return err
	}
	s.command("kubectl apply -n "+s.key.Namespace+" -f connection.yaml", out)
	_, err = s.plane.WaitFor(ctx, s.key, patience, "the link for the consent", func(m *v1alpha1.MCPConnection) bool {
		return m.Status.AuthorizationURL != ""
	})
	if err != nil {
		return err
	}
	connection, err = s.plane.WaitCondition(ctx, s.key, patience, v1alpha1.ConditionReady, metav1.ConditionFalse,
		v1alpha1.ReasonConsentRequired)
	if err != nil {
		return err
	}
	if err := s.showList(ctx); err != nil {
		return err
	}
	s.conditions(connection)
	return nil
}

// showList runs kubectl get.
func (s *story) showList(ctx context.Context) error {
	out, err := s.plane.Kubectl(ctx, "get", "mcpc", "-n", s.key.Namespace)
	if err != nil {
		return err
	}
	s.command("kubectl get mcpc -n "+s.key.Namespace, out)
	return nil
}

// consent opens the link and approves, or waits for a person who does.
func (s *story) consent(ctx context.Context) error {
	s.step("A person opens the link, once")
	connection, err := s.plane.Connection(ctx, s.key)
	if err != nil {
		return err
	}
	link := connection.Status.AuthorizationURL
	s.command("kubectl get mcpc "+s.key.Name+" -n "+s.key.Namespace+" -o jsonpath='{.status.authorizationURL}'", link)
	if s.interactive {
		return s.waitForPerson(ctx, link)
	}
	browser := harness.NewBrowser()
	page, err := browser.Open(ctx, link)
	if err != nil {
		return err
	}
	s.say("The page says:")
	s.block(quote(page.Text))
	page, err = browser.Consent(ctx, link, harness.Consent{
		Expect: []string{s.server.URL, s.auth.Issuer(), s.key.String()},
		Answer: func(page *harness.Page) (*harness.Form, error) {
			s.say("The authorization server asks:")
			s.block(quote(page.Text))
			if len(page.Forms) != 1 {
				return nil, errors.New("no consent form")
			}
			return page.Forms[0], page.Forms[0].Press("approve")
		},
	})
	if err != nil {
		return err
	}
	s.say("After Approve, the operator's page says:")
	s.block(quote(page.Text))
	return nil
}

// waitForPerson prints the link again whenever it changes, until the connection is ready.
func (s *story) waitForPerson(ctx context.Context, link string) error {
	s.say("%s", s.bold("Open this link in a browser on this machine, and approve. Waiting for you; Ctrl-C ends the demo."))
	_, err := s.plane.WaitFor(ctx, s.key, personsPatience, "a person's consent", func(m *v1alpha1.MCPConnection) bool {
		if url := m.Status.AuthorizationURL; url != "" && url != link {
			link = url
			s.say("There is a new link: %s", url)
			s.conditions(m)
		}
		return isReady(m)
	})
	return err
}

// showFailure prints what a person would look at first.
func (s *story) showFailure(ctx context.Context, err error) {
	fmt.Printf("\nStep %d failed: %v\n", s.steps, err)
	if ctx.Err() != nil {
		return // stopped from outside: there is nothing to look for
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.plane != nil && s.key.Name != "" {
		if out, err := s.plane.Kubectl(ctx, "get", "mcpc", s.key.Name, "-n", s.key.Namespace, "-o", "yaml"); err == nil {
			fmt.Printf("\nThe connection:\n%s", out)
		}
	}
	if s.operator != nil {
		fmt.Printf("\nThe end of the operator's log:\n%s\n", s.operator.LogTail(40))
	}
}
