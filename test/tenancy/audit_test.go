package tenancy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"

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

// audited are the operator's requests until now.
func audited(t *testing.T) []request {
	t.Helper()
	file, err := os.Open(auditLog)
	must(t, err)
	defer func() { _ = file.Close() }()
	var requests []request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("a line of the audit log: %v", err)
		}
		requests = append(requests, r)
	}
	must(t, lines.Err())
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
