package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// patience bounds every single wait.
	patience = 20 * time.Second
	// maxChallenges is how often a consumer hands a challenge over before it gives up.
	maxChallenges = 4
)

// consumer is a platform engineer, a person and a workload in one.
type consumer struct {
	scenario
	plane   *harness.ControlPlane
	browser *harness.Browser
	key     client.ObjectKey
	// opened are the links that were opened already: a person opens each once.
	opened map[string]bool
	// refused is the version of the token Secret whose token the server did not accept.
	refused string
}

// refusal says that the operator ended the matter with a reason in the connection's status.
type refusal struct{ reason, message string }

// Error implements error.
func (r *refusal) Error() string { return "refused with " + r.reason + ": " + r.message }

// play creates the connection, uses the server as soon as there is a token, and deletes the connection again.
func (c *consumer) play(ctx context.Context) error {
	if c.context.ClientID != "" && c.context.Issuer == "" {
		if err := c.lookUpIssuer(ctx); err != nil {
			return fmt.Errorf("the issuer could not be looked up: %w", err)
		}
	}
	connection, objects := c.objects()
	c.key = client.ObjectKeyFromObject(connection)
	for _, object := range objects {
		if err := c.plane.Client.Create(ctx, object); err != nil {
			return err
		}
	}
	err := c.useServer(ctx)
	if err != nil {
		log.Print(err)
	}
	if undeleted := c.delete(context.WithoutCancel(ctx), connection); undeleted != nil {
		return fmt.Errorf("the connection could not be deleted: %w", undeleted)
	}
	return err
}

// lookUpIssuer finds out which issuer the given client belongs to, in the server's protected resource metadata (RFC
// 9728).
func (c *consumer) lookUpIssuer(ctx context.Context) error {
	at, err := url.Parse(c.serverURL)
	if err != nil {
		return err
	}
	at.Path = "/.well-known/oauth-protected-resource" + at.Path
	metadata, err := oauthex.GetProtectedResourceMetadata(ctx, at.String(), c.serverURL, http.DefaultClient)
	if err != nil {
		return err
	}
	if len(metadata.AuthorizationServers) != 1 {
		return fmt.Errorf("the server names %d authorization servers", len(metadata.AuthorizationServers))
	}
	c.context.Issuer = metadata.AuthorizationServers[0]
	return nil
}

// useServer calls the server, and hands its challenges to the operator.
func (c *consumer) useServer(ctx context.Context) error {
	for range maxChallenges {
		connection, err := c.waitForToken(ctx)
		if err != nil {
			return err
		}
		token, err := c.plane.TokenSecret(ctx, connection)
		if err != nil {
			return err
		}
		log.Printf("calling the server with a token for the scopes %q", token[v1alpha1.KeyScope])
		challenge, err := c.callTools(ctx, token)
		if err == nil || challenge == "" {
			return err
		}
		log.Printf("%v; the challenge was %s", err, challenge)
		c.refused = connection.Status.Token.SecretResourceVersion
		if err := c.handOver(ctx, connection, challenge); err != nil {
			return err
		}
	}
	return errors.New("the server refuses every new token")
}

// waitForToken opens each new link, and waits until there is a token that the server has not refused.
func (c *consumer) waitForToken(ctx context.Context) (*v1alpha1.MCPConnection, error) {
	for {
		connection, err := c.plane.WaitFor(ctx, c.key, patience, "a token, a link or a refusal",
			func(m *v1alpha1.MCPConnection) bool {
				return c.usable(m) || c.newLink(m) || c.refusal(m) != nil
			})
		if err != nil && c.refused != "" {
			return nil, fmt.Errorf("the operator did not act on the challenge: %w", err)
		}
		if err != nil {
			return nil, err
		}
		log.Printf("the connection:\n%s", harness.Describe(connection))
		switch {
		case c.newLink(connection):
			if err := c.consent(ctx, connection); err != nil {
				return nil, err
			}
		case c.usable(connection):
			return connection, nil
		default:
			return nil, c.refusal(connection)
		}
	}
}

// usable reports whether the token Secret holds a token that the server has not refused.
func (c *consumer) usable(m *v1alpha1.MCPConnection) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReady) &&
		m.Status.Token != nil && m.Status.Token.SecretResourceVersion != c.refused
}

// newLink reports whether a person is asked for consent.
func (c *consumer) newLink(m *v1alpha1.MCPConnection) bool {
	return m.Status.AuthorizationURL != "" && !c.opened[m.Status.AuthorizationURL]
}

// refusal is why waiting longer would not help; nil if it would. An open question to a person is none until the
// person has answered.
func (c *consumer) refusal(m *v1alpha1.MCPConnection) error {
	ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != m.Generation {
		return nil
	}
	stalled := meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionStalled)
	answered := m.Status.AuthorizationURL != "" && c.opened[m.Status.AuthorizationURL] &&
		ready.Status == metav1.ConditionFalse && ready.Reason != v1alpha1.ReasonConsentRequired
	if stalled || answered || ready.Reason == v1alpha1.ReasonInsufficientScope {
		return &refusal{ready.Reason, ready.Message}
	}
	return nil
}

// consent opens the link and lets the authorization server approve, which it does without a question.
func (c *consumer) consent(ctx context.Context, connection *v1alpha1.MCPConnection) error {
	link := connection.Status.AuthorizationURL
	c.opened[link] = true
	page, err := c.browser.Consent(ctx, link, harness.Consent{Expect: []string{c.serverURL, c.key.String()}})
	if err != nil {
		return fmt.Errorf("the consent failed: %w", err)
	}
	log.Printf("the operator's last page (%d):\n%s", page.Status, page.Text)
	if page.Status != http.StatusOK && page.Status != http.StatusBadRequest {
		return fmt.Errorf("the operator's last page answered %d", page.Status)
	}
	return nil
}

// handOver gives the operator a challenge, which may refresh, or ask for a new consent.
func (c *consumer) handOver(ctx context.Context, connection *v1alpha1.MCPConnection, challenge string) error {
	original := connection.DeepCopy()
	if connection.Annotations == nil {
		connection.Annotations = map[string]string{}
	}
	connection.Annotations[v1alpha1.AnnotationChallenge] = challenge
	return c.plane.Client.Patch(ctx, connection, client.MergeFrom(original))
}

// delete removes the connection while its server still runs, so that the operator has nothing to do with the next
// server on the same port.
func (c *consumer) delete(ctx context.Context, connection *v1alpha1.MCPConnection) error {
	if err := c.plane.Client.Delete(ctx, connection); err != nil {
		return err
	}
	return c.plane.WaitGone(ctx, connection, 5*time.Second)
}
