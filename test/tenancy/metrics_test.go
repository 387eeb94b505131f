package tenancy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
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

// scrape asks for the metrics of an operator. An empty token is none.
func scrape(t *testing.T, address, token string) (status int, text string) {
	t.Helper()
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	var answer *http.Response
	must(t, wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		answer, err = browser.Do(request)
		if errors.Is(err, syscall.ECONNREFUSED) { // the operator is ready before it listens here
			return false, nil
		}
		return true, err
	}))
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode, string(body)
}

// metricsAreForWhoMayReadThem asks a running operator, which asks a real API server.
func metricsAreForWhoMayReadThem(t *testing.T, address, reader string) {
	t.Helper()
	stranger := tokenOf(t, "stranger", "")
	for _, test := range []struct {
		name, token string
		want        int
	}{
		{"nobody", "", http.StatusUnauthorized},
		{"somebody with a token of another issuer", "eyJhbGciOiJub25lIn0.e30.", http.StatusInternalServerError}, // as controller-runtime has it
		{"a ServiceAccount without the right", stranger, http.StatusForbidden},
		{"a ServiceAccount with the right", reader, http.StatusOK},
	} {
		status, text := scrape(t, address, test.token)
		if status != test.want {
			t.Errorf("%s: %d, want %d", test.name, status, test.want)
		}
		if shown := strings.Contains(text, "mcp_connection_"); shown != (test.want == http.StatusOK) {
			t.Errorf("%s: metrics are shown: %t", test.name, shown)
		}
	}
}

// metricsAreAsTheReferenceSays compares what a live operator serves with docs/reference.md: names, types and labels.
func metricsAreAsTheReferenceSays(t *testing.T, address, reader string) {
	t.Helper()
	_, text := scrape(t, address, reader)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	must(t, err)
	var served []string
	for name, family := range families {
		if strings.HasPrefix(name, "mcp_connection_") {
			served = append(served, fmt.Sprintf("| `%s` | %s |%s |", name, strings.ToLower(family.GetType().String()), labelsOf(family)))
		}
	}
	slices.Sort(served)
	page, err := os.ReadFile(inRepository("docs", "reference.md"))
	must(t, err)
	documented := regexp.MustCompile("(?m)^\\| `mcp_connection_[a-z_]+` \\| [a-z]+ \\| [^|]*\\|").FindAllString(string(page), -1)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("served are\n%s\nand docs/reference.md has\n%s", strings.Join(served, "\n"), strings.Join(documented, "\n"))
	}
}

// labelsOf are the labels that any series of a metric has, as the reference writes them.
func labelsOf(family *dto.MetricFamily) string {
	var labels []string
	for _, series := range family.GetMetric() {
		for _, label := range series.GetLabel() {
			if name := "`" + label.GetName() + "`"; !slices.Contains(labels, name) {
				labels = append(labels, name)
			}
		}
	}
	if len(labels) == 0 {
		return ""
	}
	slices.Sort(labels)
	return " " + strings.Join(labels, ", ")
}
