package tenancy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// freeAddress is a port of the loopback interface that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, listener.Close()) }()
	return listener.Addr().String()
}

// tokenOf is a token of a new ServiceAccount, which has a ClusterRole unless that is empty.
func tokenOf(t *testing.T, name, clusterRole string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: name}}
	objects := []client.Object{account}
	if clusterRole != "" {
		objects = append(objects, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: watched, Name: name}}})
	}
	for _, object := range objects {
		must(t, plane.Client.Create(t.Context(), object))
		t.Cleanup(func() { must(t, plane.Client.Delete(context.Background(), object)) })
	}
	request := &authenticationv1.TokenRequest{}
	must(t, plane.Client.SubResource("token").Create(t.Context(), account, request))
	return request.Status.Token
}

// metricsAreForWhoMayReadThem asks a running operator, which asks a real API server.
func metricsAreForWhoMayReadThem(t *testing.T, address string) {
	t.Helper()
	stranger, reader := tokenOf(t, "stranger", ""), tokenOf(t, "prometheus", "mcp-connection-metrics-reader")
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	for _, test := range []struct {
		name, token string
		want        int
	}{
		{"nobody", "", http.StatusUnauthorized},
		{"somebody with a token of another issuer", "eyJhbGciOiJub25lIn0.e30.", http.StatusInternalServerError}, // as controller-runtime has it
		{"a ServiceAccount without the right", stranger, http.StatusForbidden},
		{"a ServiceAccount with the right", reader, http.StatusOK},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		must(t, err)
		if test.token != "" {
			request.Header.Set("Authorization", "Bearer "+test.token)
		}
		answer, err := browser.Do(request)
		must(t, err)
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		must(t, answer.Body.Close())
		if answer.StatusCode != test.want {
			t.Errorf("%s: %d, want %d", test.name, answer.StatusCode, test.want)
		}
		if shown := strings.Contains(string(body), "mcp_connection_"); shown != (test.want == http.StatusOK) {
			t.Errorf("%s: metrics are shown: %t", test.name, shown)
		}
	}
}
