package lifecycle

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

func TestEveryStepHasOneRow(t *testing.T) {
	source, err := os.ReadFile("steps.go")
	if err != nil {
		t.Fatal(err)
	}
	var wanted, rows []string
	for _, constant := range regexp.MustCompile(`(?m)^\tStep\w+ +Step += "(\w+)"`).FindAllStringSubmatch(string(source),
		-1) {
		wanted = append(wanted, constant[1])
	}
	for _, row := range steps {
		rows = append(rows, string(row.step))
	}
	slices.Sort(wanted)
	slices.Sort(rows)
	if len(wanted) < 20 || !slices.Equal(wanted, rows) {
		t.Errorf("the rows are of %q, the constants of %q", rows, wanted)
	}
}
