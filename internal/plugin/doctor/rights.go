package doctor

import (
	"context"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// right is what the operator must be allowed to do.
type right struct {
	group, resource, subresource, name string
	verbs                              []string
	// inOperators says that it is wanted in the operator's namespace; else in the connection's.
	inOperators bool
}

// rights are those of config/rbac that a connection depends on.
var rights = []right{
	{group: "mcp-connection.dev", resource: "mcpconnections", verbs: []string{"get", "list", "patch", "watch"}},
	{group: "mcp-connection.dev", resource: "mcpconnections", subresource: "finalizers", verbs: []string{"update"}},
	{group: "mcp-connection.dev", resource: "mcpconnections", subresource: "status", verbs: []string{"patch"}},
	{resource: "secrets", verbs: []string{"create", "delete", "get", "list", "update", "watch"}},
	{group: "events.k8s.io", resource: "events", verbs: []string{"create", "patch"}},
	{resource: "secrets", verbs: []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		inOperators: true},
	{group: "coordination.k8s.io", resource: "leases", verbs: []string{"create"}, inOperators: true},
	{group: "coordination.k8s.io", resource: "leases", name: leaseName, verbs: []string{"get", "update"},
		inOperators: true},
}

// rightsFinding asks the API server what the operator's ServiceAccount may do.
func (o *Operator) rightsFinding(ctx context.Context, c kubernetes.Interface, served string) Finding {
	f := Finding{Title: "Rights of the operator (SubjectAccessReview)"}
	if o.Deployment == nil {
		f.skip("Not looked at: the operator's ServiceAccount is not known.")
		return f
	}
	user, asked := o.account(), 0
	for _, r := range rights {
		namespace := served
		if r.inOperators {
			namespace = o.namespace()
		}
		denied, err := deniedVerbs(ctx, c, user, namespace, r)
		switch {
		case apierrors.IsForbidden(err):
			f.skip("You may not ask what others may do (create subjectaccessreviews): somebody who may can run this again.")
			return f
		case err != nil:
			f.warn("The API server could not be asked: %s", oneLine(err.Error()))
			return f
		}
		asked += len(r.verbs)
		if len(denied) > 0 {
			f.fail("%s may not %s %s in namespace %s.", user, strings.Join(denied, ", "), r, namespace)
		}
	}
	if f.Level == Failure {
		f.note("Apply the operator's manifests again.")
	} else {
		f.note("%s may do the %d things that a connection in namespace %s needs.", user, asked, served)
	}
	return f
}

func deniedVerbs(ctx context.Context, c kubernetes.Interface, user, namespace string, r right) ([]string, error) {
	var denied []string
	for _, verb := range r.verbs {
		allowed, err := mayDo(ctx, c, user, namespace, verb, r)
		if err != nil {
			return nil, err
		}
		if !allowed {
			denied = append(denied, verb)
		}
	}
	return denied, nil
}

// String is how the right's object is called.
func (r right) String() string {
	text := r.resource
	if r.subresource != "" {
		text += "/" + r.subresource
	}
	if r.group != "" {
		text += "." + r.group
	}
	if r.name != "" {
		text += " " + r.name
	}
	return text
}

func mayDo(ctx context.Context, c kubernetes.Interface, user, namespace, verb string, r right) (bool, error) {
	account := strings.Split(user, ":")
	review, err := c.AuthorizationV1().SubjectAccessReviews().Create(ctx,
		&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   user,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + account[2], "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Group: r.group, Resource: r.resource, Subresource: r.subresource, Name: r.name,
			},
		}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
