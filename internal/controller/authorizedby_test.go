package controller

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/callback"
)

const userHeader = "X-Forwarded-User"

// signedIn has an authenticating proxy stand between the browser and the pages.
func (w *world) signedIn(user string) {
	GinkgoHelper()
	w.servePages(func(o *callback.Options) {
		o.UserHeader, o.UserProxies, o.Access = userHeader, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			callback.NewAccess(api)
	})
	w.newBrowser()
	w.browser.Transport = vouched{user}
}

// vouched adds a user to every request.
type vouched struct{ user string }

func (v vouched) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(userHeader, v.user)
	return http.DefaultTransport.RoundTrip(r)
}

// permit gives a user the right that the 403 page tells them to ask for, and waits until the API server knows.
func (w *world) permit(user string) {
	GinkgoHelper()
	name := metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "authorize-" + user}
	role := &rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"mcpconnections"},
		ResourceNames: []string{w.key.Name}, Verbs: []string{callback.VerbAuthorize},
	}}}
	w.must(api.Create(w.ctx, role))
	w.must(api.Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	w.must(wait.PollUntilContextTimeout(w.ctx, 50*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			return callback.NewAccess(api).Allowed(ctx, user, callback.Meta{Namespace: w.key.Namespace, Name: w.key.Name})
		}))
}

// drainEvents takes what was recorded since the last time.
func (w *world) drainEvents() []string {
	var out []string
	for len(w.events.Events) > 0 {
		out = append(out, <-w.events.Events)
	}
	return out
}

var _ = Describe("Who may authorize", Label("security"), func() {
	It("is for RBAC to say, and who did is in status", func() {
		w, link := waiting()
		w.signedIn("alice@example.com")
		Expect(w.open(link)).To(Equal(http.StatusForbidden), "the answer to a person without the right")
		w.permit("alice@example.com")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.AuthorizedBy).To(Equal("alice@example.com"))

		w.clock.SetTime(w.get().Status.Token.RefreshAt.Time)
		issued := w.get().Status.Token.IssuedAt
		w.reconcile()
		Expect(w.get().Status.AuthorizedBy).To(Equal("alice@example.com"), "after a refresh")
		Expect(w.get().Status.Token.IssuedAt.Time).NotTo(BeTemporally("==", issued.Time))

		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.drainEvents()
		w.signedIn("bob@example.com")
		w.permit("bob@example.com")
		link = w.get().Status.AuthorizationURL
		w.consent()
		Expect(w.get().Status.AuthorizedBy).To(Equal("bob@example.com"), "after another person's consent")
		events := w.drainEvents()
		Expect(strings.Contains(strings.Join(events, "\n"), ticketOf(link))).To(BeFalse(),
			"an event shows the ticket of the link")
		Expect(events).To(ConsistOf(ContainSubstring(v1alpha1.ReasonSucceeded)))
		audit := strings.Join(w.log.all(), "\n")
		for _, want := range []string{
			`log audit: "level"=0 "msg"="consent" "outcome"="refused: not permitted" "connection"="` + w.key.String() + `"`,
			`"user"="bob@example.com" "client"="127.0.0.1"`, `"outcome"="consented"`,
		} {
			Expect(audit).To(ContainSubstring(want))
		}
	})
})

var _ = Describe("A consent without a proxy", func() {
	It("names nobody", func() {
		w, _ := waiting()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.AuthorizedBy).To(BeEmpty())
	})
})
