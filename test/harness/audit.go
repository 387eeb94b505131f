package harness

import (
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// OperatorUser is how the API server calls the operator.
const OperatorUser = "system:serviceaccount:" + OperatorNamespace + ":" + OperatorServiceAccount

// auditPolicy logs who asked for what, without contents, for the operator only.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["` + OperatorUser + `"]
  - level: None
`

// audit has the API server log what the operator asks for, all in one file.
func (c *ControlPlane) audit(env *envtest.Environment) error {
	c.AuditLog = filepath.Join(c.Dir, "audit.log")
	policy := filepath.Join(c.Dir, "audit-policy.yaml")
	env.ControlPlane.GetAPIServer().Configure().Set("audit-policy-file", policy).Set("audit-log-path", c.AuditLog).
		Set("audit-log-maxsize", "100000") // in megabytes: what is in further files is not read
	return os.WriteFile(policy, []byte(auditPolicy), 0o600)
}
