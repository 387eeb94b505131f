package tenancy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/test/harness"
)

// freeAddress is a port of the loopback interface that nobody listens at.
func freeAddress() string {
	GinkgoHelper()
	address, err := harness.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	return address
}

// tokenOf is a token of a new ServiceAccount, which has a ClusterRole unless that is empty.
func tokenOf(ctx context.Context, name, clusterRole string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: name}}
	create(ctx, account)
	if clusterRole != "" {
		create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: watched, Name: name}}})
	}
	request := &authenticationv1.TokenRequest{}
	Expect(plane.Client.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}

// scrape asks for the metrics of an operator. An empty token is none.
func scrape(ctx context.Context, address, token string) (status int, text string) {
	GinkgoHelper()
	browser := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	var answer *http.Response
	Eventually(ctx, func() error {
		answer, err = browser.Do(request)
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) { // the operator is ready before it listens here
			return StopTrying("the metrics cannot be read").Wrap(err)
		}
		return err
	}).Should(Succeed())
	body, err := io.ReadAll(answer.Body)
	Expect(err).NotTo(HaveOccurred())
	Expect(answer.Body.Close()).To(Succeed())
	return answer.StatusCode, string(body)
}

// metricsAreForWhoMayReadThem asks a running operator, which asks a real API server.
func metricsAreForWhoMayReadThem(ctx context.Context, address, reader string) {
	GinkgoHelper()
	stranger := tokenOf(ctx, "stranger", "")
	for _, test := range []struct {
		name, token string
		want        int
	}{
		{"nobody", "", http.StatusUnauthorized},
		// As controller-runtime has it.
		{"somebody with a token of another issuer", "eyJhbGciOiJub25lIn0.e30.", http.StatusInternalServerError},
		{"a ServiceAccount without the right", stranger, http.StatusForbidden},
		{"a ServiceAccount with the right", reader, http.StatusOK},
	} {
		status, text := scrape(ctx, address, test.token)
		Expect(status).To(Equal(test.want), "%s reads the metrics", test.name)
		Expect(strings.Contains(text, "mcp_connection_")).To(Equal(test.want == http.StatusOK), "metrics are shown to %s",
			test.name)
	}
}

// metricsAreAsTheReferenceSays compares what a live operator serves with docs/reference.md: names, types and labels.
func metricsAreAsTheReferenceSays(ctx context.Context, address, reader string) {
	GinkgoHelper()
	_, text := scrape(ctx, address, reader)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	Expect(err).NotTo(HaveOccurred())
	var served []string
	for name, family := range families {
		if strings.HasPrefix(name, "mcp_connection_") {
			served = append(served, fmt.Sprintf("| `%s` | %s |%s |", name, strings.ToLower(family.GetType().String()),
				labelsOf(family)))
		}
	}
	page, err := os.ReadFile(harness.InRepository("docs", "reference.md"))
	Expect(err).NotTo(HaveOccurred())
	documented := regexp.MustCompile("(?m)^\\| `mcp_connection_[a-z_]+` \\| [a-z]+ \\| [^|]*\\|").FindAllString(
		string(page), -1)
	Expect(served).To(ConsistOf(documented), "served are the metrics of docs/reference.md")
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
