package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// pollInterval is how often a wait looks.
const pollInterval = 200 * time.Millisecond

// ManifestWith reads a manifest and replaces the values of single-line fields, such as serverURL.
// A field that the manifest does not have is an error.
func ManifestWith(file string, values map[string]string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := string(raw)
	for field, value := range values {
		line := regexp.MustCompile(`(?m)^( *(?:- )?` + regexp.QuoteMeta(field) + `:) .*$`)
		if !line.MatchString(text) {
			return "", fmt.Errorf("%s has no field %s", file, field)
		}
		text = line.ReplaceAllString(text, "${1} "+strings.ReplaceAll(value, "$", "$$"))
	}
	return text, nil
}

// ParseConnection reads a manifest that holds one connection.
func ParseConnection(manifest string) (*v1alpha1.MCPConnection, error) {
	connection := &v1alpha1.MCPConnection{}
	if err := yaml.UnmarshalStrict([]byte(manifest), connection); err != nil {
		return nil, err
	}
	if connection.Kind != "MCPConnection" || connection.Name == "" {
		return nil, errors.New("the manifest holds no named MCPConnection")
	}
	return connection, nil
}

// Apply applies a manifest in a namespace, as kubectl apply -f does.
func (c *ControlPlane) Apply(ctx context.Context, namespace, manifest string) (string, error) {
	return c.kubectlWithInput(ctx, manifest, "apply", "-n", namespace, "-f", "-")
}

// Connection reads one connection.
func (c *ControlPlane) Connection(ctx context.Context, key client.ObjectKey) (*v1alpha1.MCPConnection, error) {
	connection := &v1alpha1.MCPConnection{}
	return connection, c.Client.Get(ctx, key, connection)
}

// WaitFor polls a connection until done says so, and returns it. what completes the sentence "waiting for".
func (c *ControlPlane) WaitFor(ctx context.Context, key client.ObjectKey, timeout time.Duration, what string,
	done func(*v1alpha1.MCPConnection) bool) (*v1alpha1.MCPConnection, error) {
	c.logf("waiting for %s", what)
	var last *v1alpha1.MCPConnection
	err := wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(ctx context.Context) (bool, error) {
		connection, err := c.Connection(ctx, key)
		if err != nil {
			return false, err
		}
		last = connection
		return done(connection), nil
	})
	if err != nil {
		return nil, fmt.Errorf("waited for %s: %w; last seen: %s", what, err, Describe(last))
	}
	return last, nil
}

// WaitCondition waits until a condition has a status and, unless empty, a reason, for the current generation.
func (c *ControlPlane) WaitCondition(ctx context.Context, key client.ObjectKey, timeout time.Duration, kind string,
	status metav1.ConditionStatus, reason string) (*v1alpha1.MCPConnection, error) {
	what := fmt.Sprintf("%s=%s %s", kind, status, reason)
	return c.WaitFor(ctx, key, timeout, strings.TrimSpace(what), func(m *v1alpha1.MCPConnection) bool {
		condition := meta.FindStatusCondition(m.Status.Conditions, kind)
		return condition != nil && condition.Status == status && condition.ObservedGeneration == m.Generation &&
			(reason == "" || condition.Reason == reason)
	})
}

// WaitGone waits until an object is no longer there.
func (c *ControlPlane) WaitGone(ctx context.Context, object client.Object, timeout time.Duration) error {
	key := client.ObjectKeyFromObject(object)
	c.logf("waiting until %s is gone", key)
	err := wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(ctx context.Context) (bool, error) {
		err := c.Client.Get(ctx, key, object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("waited until %s is gone: %w", key, err)
	}
	return nil
}

// Describe shows the conditions of a connection, one per line.
func Describe(m *v1alpha1.MCPConnection) string {
	if m == nil {
		return "no such MCPConnection"
	}
	var text strings.Builder
	for _, condition := range m.Status.Conditions {
		fmt.Fprintf(&text, "%-12s %-7s %-24s %s\n", condition.Type, condition.Status, condition.Reason, condition.Message)
	}
	if text.Len() == 0 {
		return "no conditions yet"
	}
	return strings.TrimSpace(text.String())
}

// TokenSecret reads the keys of the Secret that workloads mount.
func (c *ControlPlane) TokenSecret(ctx context.Context, m *v1alpha1.MCPConnection) (map[string]string, error) {
	if m.Status.Token == nil || m.Status.Token.SecretName == "" {
		return nil, errors.New("status.token.secretName is empty")
	}
	secret := &corev1.Secret{}
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: m.Status.Token.SecretName},
		secret); err != nil {
		return nil, err
	}
	keys := make(map[string]string, len(secret.Data))
	for key, value := range secret.Data {
		keys[key] = string(value)
	}
	return keys, nil
}

// CredentialSecrets lists the operator's own Secrets, which only it may read.
func (c *ControlPlane) CredentialSecrets(ctx context.Context) ([]corev1.Secret, error) {
	var list corev1.SecretList
	err := c.Client.List(ctx, &list, client.InNamespace(OperatorNamespace),
		client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy})
	return list.Items, err
}
