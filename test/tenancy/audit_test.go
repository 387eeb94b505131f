package tenancy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
)

// request is one line of the audit log.
type request struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	ObjectRef  *struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// right is one verb on one resource in one namespace.
func right(verb, group, resource, namespace string) string {
	return fmt.Sprintf("%s %s.%s in %s", verb, resource, group, namespace)
}

// auditedSoFar is where the next line of the audit log will be.
func auditedSoFar() int64 {
	GinkgoHelper()
	info, err := os.Stat(plane.AuditLog)
	if errors.Is(err, os.ErrNotExist) { // the operator has asked for nothing yet
		return 0
	}
	Expect(err).NotTo(HaveOccurred())
	return info.Size()
}

// audited are the operator's requests from a place in the audit log on.
func audited(from int64) []request {
	GinkgoHelper()
	file, err := os.Open(plane.AuditLog)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	_, err = file.Seek(from, io.SeekStart)
	Expect(err).NotTo(HaveOccurred())
	var requests []request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		Expect(json.Unmarshal(lines.Bytes(), &r)).To(Succeed(), "a line of the audit log")
		requests = append(requests, r)
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
	return requests
}

// used are the rights that the API server granted for these requests.
func used(requests []request) map[string]bool {
	rights := map[string]bool{}
	for _, r := range requests {
		if r.ObjectRef == nil {
			continue
		}
		resource := r.ObjectRef.Resource
		if r.ObjectRef.Subresource != "" {
			resource += "/" + r.ObjectRef.Subresource
		}
		rights[right(r.Verb, r.ObjectRef.APIGroup, resource, r.ObjectRef.Namespace)] = true
	}
	return rights
}

// granted are the rights that a Role gives.
func granted(role *rbacv1.Role) []string {
	var rights []string
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, right(verb, group, resource, role.Namespace))
				}
			}
		}
	}
	return rights
}
