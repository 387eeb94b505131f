package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// redactObject leaves out what may be secret, and has the scrubber learn it: values of annotations, labels, templates
// and extra parameters, queries of URLs, the link for consent, who consented, and what was written by whom.
func redactObject(conn *v1alpha1.MCPConnection, s *scrubber) *v1alpha1.MCPConnection {
	applied := conn.Annotations[corev1.LastAppliedConfigAnnotation]
	if earlier := (&v1alpha1.MCPConnection{}); json.Unmarshal([]byte(applied), earlier) == nil {
		redactSpec(&earlier.Spec, s)
		delete(earlier.Annotations, corev1.LastAppliedConfigAnnotation)
		values(earlier.Annotations, s)
		values(earlier.Labels, s)
	}
	out := conn.DeepCopy()
	out.APIVersion, out.Kind = v1alpha1.GroupVersion.String(), "MCPConnection"
	out.ObjectMeta = metav1.ObjectMeta{
		Namespace: conn.Namespace, Name: conn.Name, UID: conn.UID, ResourceVersion: conn.ResourceVersion,
		Generation:        conn.Generation,
		CreationTimestamp: conn.CreationTimestamp, DeletionTimestamp: conn.DeletionTimestamp, Finalizers: conn.Finalizers,
		Annotations: values(conn.Annotations, s), Labels: values(conn.Labels, s),
	}
	redactSpec(&out.Spec, s)
	redactStatus(&out.Status, s)
	return out
}

func redactSpec(spec *v1alpha1.MCPConnectionSpec, s *scrubber) {
	redactURL(&spec.ServerURL, s)
	if c := spec.Client; c != nil {
		for _, u := range []*string{&c.MetadataDocumentURL, &c.URI, &c.LogoURI, &c.Issuer} {
			redactURL(u, s)
		}
	}
	if as := spec.AuthorizationServer; as != nil {
		redactURL(&as.Issuer, s)
		for _, e := range []*v1alpha1.Endpoint{&as.AuthorizationEndpoint, &as.TokenEndpoint, &as.RegistrationEndpoint,
			&as.RevocationEndpoint} {
			redactURL(e, s)
		}
	}
	if p := spec.IdentityProvider; p != nil {
		redactURL(&p.Issuer, s)
		redactURL(&p.TokenEndpoint, s)
	}
	if c := spec.Compatibility; c != nil {
		c.AuthorizationParameters = values(c.AuthorizationParameters, s)
		c.TokenParameters = values(c.TokenParameters, s)
		if c.Resource != nil {
			redactURL(&c.Resource.Value, s)
		}
	}
	if t := spec.TokenSecret; t != nil {
		t.Data, t.Labels, t.Annotations = values(t.Data, s), values(t.Labels, s), values(t.Annotations, s)
	}
}

func redactStatus(status *v1alpha1.MCPConnectionStatus, s *scrubber) {
	if status.AuthorizationURL != "" {
		s.learn(status.AuthorizationURL)
		status.AuthorizationURL = "(redacted: whoever opens it binds their own account)"
	}
	if status.AuthorizedBy != "" {
		s.learn(status.AuthorizedBy)
		status.AuthorizedBy = redacted
	}
	if l := status.LastHandled; l != nil {
		for _, value := range []*string{&l.Reauthorize, &l.Refresh, &l.Revoke, &l.Challenge} {
			*value = size(*value, s)
		}
	}
	redactURL(&status.Resource, s)
	if as := status.AuthorizationServer; as != nil {
		for _, u := range []*string{&as.Issuer, &as.AuthorizationEndpoint, &as.TokenEndpoint, &as.RegistrationEndpoint,
			&as.RevocationEndpoint} {
			redactURL(u, s)
		}
	}
	if f := status.Failure; f != nil {
		f.Trigger, f.Inputs = "", ""
	}
	for i := range status.OtherFailures {
		status.OtherFailures[i].Trigger, status.OtherFailures[i].Inputs = "", ""
	}
}

// values leaves of a map its keys.
func values[V ~string](m map[string]V, s *scrubber) map[string]V {
	if m == nil {
		return nil
	}
	out := map[string]V{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key == corev1.LastAppliedConfigAnnotation { // the object once more: its words are no secrets
			out[key] = V(placeholder(string(m[key])))
			continue
		}
		out[key] = V(size(string(m[key]), s))
	}
	return out
}

// size stands for a value.
func size(value string, s *scrubber) string {
	if value == "" {
		return ""
	}
	s.learn(value)
	s.learnWords(value)
	return placeholder(value)
}

func placeholder(value string) string { return fmt.Sprintf("(redacted, %d bytes)", len(value)) }

// redactURL cuts a URL's query, fragment and user name.
func redactURL[V ~string](v *V, s *scrubber) {
	raw := string(*v)
	if bare := bareURL(raw); raw != "" && bare != raw {
		s.learn(raw)
		*v = V(bare)
	}
}
