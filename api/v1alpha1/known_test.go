package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestEveryConstantOfAConditionIsKnown reads the source, so that none is forgotten.
func TestEveryConstantOfAConditionIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[bool]int{}
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
		isReason := strings.HasPrefix(name, "Reason")
		found[isReason]++
		if isReason != IsReason(value) || isReason == IsConditionType(value) {
			t.Errorf("%s is not known for what it is", name)
		}
		return true
	})
	if found[true] != len(reasons) || found[false] != len(conditionTypes) {
		t.Errorf("the source has %d reasons and %d types, known are %d and %d", found[true], found[false], len(reasons), len(conditionTypes))
	}
}
