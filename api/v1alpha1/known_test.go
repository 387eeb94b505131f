package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestEveryConditionTypeIsKnown reads the source, so that none is forgotten.
func TestEveryConditionTypeIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		name, literal := spec.Names[0].Name, spec.Values[0].(*ast.BasicLit).Value
		value, err := strconv.Unquote(literal)
		if err != nil {
			t.Fatal(err)
		}
		isType := strings.HasPrefix(name, "Condition")
		if isType {
			found++
		}
		if isType != IsConditionType(value) {
			t.Errorf("%s is not known for what it is", name)
		}
		return true
	})
	if found != len(conditionTypes) {
		t.Errorf("the source has %d types, known are %d", found, len(conditionTypes))
	}
}
