package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/doctor"
)

// file of a bundle.
type file struct {
	name, text string
}

// source is what a bundle is made of.
type source struct {
	config            *rest.Config
	connection        *v1alpha1.MCPConnection
	operatorNamespace string
	rules             doctor.Rules
	since             time.Duration
	now               func() time.Time
	version           string
}

const readme = `A report on one MCPConnection, made by kubectl mcpc report to be attached to an issue.

connection.yaml  the object
conditions.txt   its conditions
events.yaml      its events
versions.yaml    of the plugin, the operator and Kubernetes
operator.log     the operator's lines about it
doctor.txt       what kubectl mcpc doctor says

No Secret was read. Left out are: values of annotations, labels, templates and extra parameters;
queries of URLs, and the parts of their paths with 16 characters or more and a digit; the link for
consent; who consented, and from where; and whatever looks like a token, as some client_ids do.
Names, hosts, other paths and scopes are left in: look through the files before you attach them.
`

// files collects and redacts. What may not be read is said in its file.
func (b *source) files(ctx context.Context) ([]file, error) {
	c, err := kubernetes.NewForConfig(b.config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the cluster: %w", err)
	}
	s := &scrubber{}
	// First what teaches the scrubber: the object, and the log, which names people.
	object := redactObject(b.connection, s)
	operator := doctor.FindOperator(ctx, c, b.connection.Namespace, b.operatorNamespace)
	log := logs(ctx, c, operator, b.connection, b.since, s)
	connection, err := tree(object, s)
	if err != nil {
		return nil, err
	}
	return []file{
		{"README.txt", readme},
		{"connection.yaml", connection},
		{"conditions.txt", conditions(b.connection, s)},
		{"events.yaml", b.events(ctx, c, s)},
		{"versions.yaml", b.versions(c, operator)},
		{"operator.log", log},
		{"doctor.txt", b.doctor(ctx, s)},
	}, nil
}

// tree is an object as YAML, every text in it scrubbed but those that say which object it is.
func tree(object *v1alpha1.MCPConnection, s *scrubber) (string, error) {
	members, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return "", fmt.Errorf("read the object: %w", err)
	}
	for name, member := range members {
		if name != "apiVersion" && name != "kind" {
			members[name] = scrubbed(member, s)
		}
	}
	text, err := yaml.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("write the object: %w", err)
	}
	return string(text), nil
}

// scrubbed is a tree with every text in it scrubbed.
func scrubbed(value any, s *scrubber) any {
	switch v := value.(type) {
	case string:
		return s.text(v)
	case []any:
		for i := range v {
			v[i] = scrubbed(v[i], s)
		}
	case map[string]any:
		for name, member := range v {
			v[name] = scrubbed(member, s)
		}
	}
	return value
}

func conditions(conn *v1alpha1.MCPConnection, s *scrubber) string {
	var b strings.Builder
	for _, kind := range []string{
		v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered, v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed,
		v1alpha1.ConditionReady,
		v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled,
	} {
		if c := meta.FindStatusCondition(conn.Status.Conditions, kind); c != nil {
			fmt.Fprintf(&b, "%-12s %-7s %-24s %s  generation %d\n    %s\n", c.Type, c.Status, c.Reason,
				c.LastTransitionTime.UTC().Format(time.RFC3339), c.ObservedGeneration, s.text(oneLine(c.Message)))
		}
	}
	if b.Len() == 0 {
		return "none: the operator has not looked at the connection\n"
	}
	return b.String()
}

func (b *source) events(ctx context.Context, c kubernetes.Interface, s *scrubber) string {
	list, err := events(ctx, c, b.connection, s)
	if err != nil {
		return "# " + s.text(oneLine(err.Error())) + "\n"
	}
	text, err := yaml.Marshal(list)
	if err != nil {
		return "# the events cannot be written\n"
	}
	return string(text)
}

func (b *source) versions(c kubernetes.Interface, o *doctor.Operator) string {
	kubernetesVersion := "unknown"
	if v, err := c.Discovery().ServerVersion(); err == nil {
		kubernetesVersion = v.GitVersion
	}
	text, err := yaml.Marshal(map[string]string{
		"plugin": b.version, "operator": o.Version(), "kubernetes": kubernetesVersion, "api": v1alpha1.GroupVersion.String(),
		"reportedAt": metav1.Time{Time: b.now()}.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return "# the versions cannot be written\n"
	}
	return string(text)
}

func (b *source) doctor(ctx context.Context, s *scrubber) string {
	target := doctor.Target{Config: b.config, Namespace: b.connection.Namespace, Connection: b.connection,
		OperatorNamespace: b.operatorNamespace, Rules: b.rules, Now: b.now}
	found, err := target.Examine(ctx)
	if err != nil {
		return "# " + s.text(oneLine(err.Error())) + "\n"
	}
	var out bytes.Buffer
	if err := found.Write(&out); err != nil {
		return "# doctor's report cannot be written\n"
	}
	return s.text(out.String())
}

// archive writes the files as one tar.gz, in a folder of that name.
func archive(w io.Writer, folder string, files []file, at time.Time) error {
	zipped := gzip.NewWriter(w)
	tarred := tar.NewWriter(zipped)
	for _, f := range files {
		err := tarred.WriteHeader(&tar.Header{Name: folder + "/" + f.name, Mode: 0o600, Size: int64(len(f.text)),
			ModTime: at})
		if err == nil {
			_, err = io.WriteString(tarred, f.text)
		}
		if err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
	}
	if err := tarred.Close(); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if err := zipped.Close(); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}
