package reasons

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const readme = "../../README.md"

// markdown is the table of all reasons. Neighbours that say the same share a row.
func markdown() string {
	var out strings.Builder
	out.WriteString("| reason | what happened | what to do |\n|---|---|---|\n")
	var names []string
	for i, row := range table {
		names = append(names, "`"+row.Reason+"`")
		if i+1 < len(table) && table[i+1].Meaning == row.Meaning && table[i+1].Action == row.Action {
			continue
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", strings.Join(names, ", "), row.Meaning, row.Action)
		names = nil
	}
	return out.String()
}

// TestTheReadmeHasTheTable: UPDATE=1 writes it.
func TestTheReadmeHasTheTable(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile(`(?m)^\| reason \|.*\n(\|.*\n)+`).FindAllString(string(text), -1)
	if len(old) != 1 {
		t.Fatalf("%s has %d tables of reasons", readme, len(old))
	}
	if old[0] == markdown() {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s has another table of reasons; write it: UPDATE=1 go test ./internal/reasons -run '^%s$'", readme,
			t.Name())
	}
	if err := os.WriteFile(readme, []byte(strings.Replace(string(text), old[0], markdown(), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryReasonSaysWhatItMeansAndWhatToDo(t *testing.T) {
	// A cell ends with a word or a value: the README's tables have no full stops.
	cell := regexp.MustCompile("^[^|\n]*[a-zA-Z`)]$")
	for _, row := range table {
		for _, text := range []string{row.Meaning, row.Action} {
			if !cell.MatchString(text) || strings.Count(text, "`")%2 != 0 || text != strings.TrimSpace(text) {
				t.Errorf("%s says %q", row.Reason, text)
			}
		}
	}
}
