package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// VerbAuthorize on a connection is what a person needs to consent for it, where an authenticating proxy says who they
// are.
const VerbAuthorize = "authorize"

// maxUser is the longest name of a person that is believed.
const maxUser = 256

var (
	errNoUser    = errors.New("the request names no user")
	errOtherUser = errors.New("another user")
)

// notPermitted says that a user may not consent for a connection.
type notPermitted struct{ meta Meta }

func (e notPermitted) Error() string { return "the user may not " + VerbAuthorize + " the connection" }

// Access says who may consent for which connection.
type Access interface {
	Allowed(ctx context.Context, user string, connection Meta) (bool, error)
}

// NewAccess asks the API server (SubjectAccessReview) whether a user has the verb authorize on a connection.
func NewAccess(c client.Client) Access { return reviews{c} }

type reviews struct{ client client.Client }

// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

func (a reviews) Allowed(ctx context.Context, user string, connection Meta) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "mcpconnections",
			Namespace: connection.Namespace, Name: connection.Name, Verb: VerbAuthorize,
		},
	}}
	if err := a.client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking whether a user may %s a connection: %w", VerbAuthorize, err)
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

// user is the person whom the authenticating proxy names; empty if there is no such proxy, if the request did not come
// from it, or if the name is not one. Names that begin with system: belong to the cluster, and no proxy vouches for
// them.
func (s *Server) user(r *http.Request) string {
	if s.o.UserHeader == "" || !within(s.o.UserProxies, peer(r)) {
		return ""
	}
	values := r.Header.Values(s.o.UserHeader)
	if len(values) != 1 || strings.HasPrefix(values[0], "system:") || mcpoauth.Sanitize(values[0], maxUser) != values[0] {
		return ""
	}
	return values[0]
}

// permit says why the user of a request may not consent for a connection; nil if they may, or if nobody says who they
// are.
func (s *Server) permit(ctx context.Context, x *exchange, v *visit) error {
	if s.o.UserHeader == "" {
		return nil
	}
	if x.user == "" {
		return errNoUser
	}
	allowed := false
	err := s.call(ctx, func(ctx context.Context) (err error) {
		allowed, err = s.o.Access.Allowed(ctx, x.user, v.meta)
		return err
	})
	if err == nil && !allowed {
		return notPermitted{v.meta}
	}
	return err
}

func noUserPage() page {
	return page{
		status: http.StatusForbidden, title: "Nobody is signed in",
		text: "Consent is taken from people who are signed in, and this request named nobody. Nothing was changed. Open " +
			"the link at the address that it came with; if you did, the proxy in front of this page does not say who you are.",
	}
}

func otherUserPage() page {
	return page{
		status: http.StatusForbidden, title: "Another person began this",
		text: "A sign-in must be finished by the person who began it. Nothing was changed. Open the link to the connection " +
			"again to begin one of your own.",
	}
}

func notPermittedPage(connection Meta) page {
	return page{
		status: http.StatusForbidden, title: "You may not authorize " + connection.Namespace + "/" + connection.Name,
		text: "Nothing was changed. Ask whoever manages the namespace for a RoleBinding to a Role that allows the verb " +
			VerbAuthorize + " on this connection, such as the one that this makes:",
		code: "kubectl create role authorize-" + connection.Name + " -n " + connection.Namespace +
			" --verb=" + VerbAuthorize + " --resource=mcpconnections." + v1alpha1.GroupVersion.Group + " --resource-name=" +
			connection.Name,
	}
}
