package lifecycle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// reasonsWith are the reasons that have a trait.
func reasonsWith(t trait) []string {
	var out []string
	for _, row := range reasons {
		if row.traits&t != 0 {
			out = append(out, row.reason)
		}
	}
	return out
}

// constants are the values of the constants whose names begin so in a file.
func constants(t testing.TB, file, prefix string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, is := spec.Values[0].(*ast.BasicLit); is {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

func TestEveryReasonHasOneRowAndAPlace(t *testing.T) {
	wanted := constants(t, "../../api/v1alpha1/conditions.go", "Reason")
	var rows []string
	for _, row := range reasons {
		rows = append(rows, row.reason)
		if len(row.at) == 0 || !v1alpha1.IsReason(row.reason) {
			t.Errorf("%s is told by no condition, or the API does not know it", row.reason)
		}
	}
	slices.Sort(wanted)
	slices.Sort(rows)
	if len(wanted) < 30 || !slices.Equal(wanted, rows) {
		t.Errorf("the rows are of %q, the constants of %q", rows, wanted)
	}
	if is("NoSuchReason", ^trait(0)) {
		t.Error("an unknown reason has traits")
	}
}

func TestEveryStepHasOneRow(t *testing.T) {
	wanted := slices.DeleteFunc(constants(t, "steps.go", "Step"), func(s string) bool { return Step(s) == StepNone })
	var rows []string
	for _, row := range steps {
		rows = append(rows, string(row.step))
	}
	slices.Sort(wanted)
	slices.Sort(rows)
	if len(wanted) < 20 || !slices.Equal(wanted, rows) {
		t.Errorf("the rows are of %q, the constants of %q", rows, wanted)
	}
}
