package tenancy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

// schema is what the tests want of an OpenAPI schema.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Rules      []struct {
		Rule string `json:"rule"`
	} `json:"x-kubernetes-validations"`
}

// specSchema is the schema of spec.
func specSchema(t testing.TB) schema {
	t.Helper()
	text, err := os.ReadFile(harness.InRepository("config", "crd", "bases", "mcp-connection.dev_mcpconnections.yaml"))
	must(t, err)
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	must(t, yaml.Unmarshal(text, &crd))
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// at is the schema of a path.
func (s schema) at(path []string) schema {
	for _, name := range path {
		s = s.Properties[name]
	}
	return s
}

// references are the paths of all properties that refer to a Secret.
func (s schema) references(at []string) [][]string {
	var found [][]string
	for name, property := range s.Properties {
		path := append(slices.Clone(at), name)
		if strings.HasSuffix(strings.ToLower(name), "secretref") {
			found = append(found, path)
		}
		found = append(found, property.references(path)...)
	}
	return found
}
