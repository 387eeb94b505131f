package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// borrowed lists metrics that are not the operator's own as docs/reference.md lists those.
const borrowed = "testdata/borrowed.md"

// targetLabels are those that Prometheus gives to what it scrapes.
var targetLabels = []string{"namespace", "pod", "job", "instance"}

// vocabulary is what an expression may name.
type vocabulary struct {
	labels map[string][]string            // by metric
	values map[string]map[string][]string // by prefix of metrics and label, where they are constants of the API
}

func inRepository(elements ...string) string {
	return filepath.Join(append([]string{"..", ".."}, elements...)...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// known reads the vocabulary from the tables of metrics and from the source.
func known(t *testing.T) *vocabulary {
	t.Helper()
	v := &vocabulary{labels: map[string][]string{}}
	for _, page := range []string{inRepository("docs", "reference.md"), borrowed} {
		before := len(v.labels)
		v.learn(t, page)
		if len(v.labels) < before+5 {
			t.Fatalf("%s lists no metrics below the heading Metrics", page)
		}
	}
	constants := read(t, inRepository("api", "v1alpha1", "conditions.go"))
	v.values = map[string]map[string][]string{"mcp_connection_": {
		"type":   submatches(`\bCondition\w+ += "(\w+)"`, constants),
		"reason": submatches(`\bReason\w+ += "(\w+)"`, constants),
		"status": {"True", "False", "Unknown"},
		"step":   submatches(`\bStep\w+ +Step = "(\w+)"`, read(t, inRepository("internal", "lifecycle", "steps.go"))),
	}}
	for label, values := range v.values["mcp_connection_"] {
		if len(values) < 3 {
			t.Fatalf("the source has no values for %s", label)
		}
	}
	return v
}

// learn reads rows such as | `name` | type | `label`, `label` | meaning |.
func (v *vocabulary) learn(t *testing.T, page string) {
	t.Helper()
	_, section, _ := strings.Cut(read(t, page), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (gauge|counter|histogram) \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		name, kind := m[1], m[2]
		labels := submatches(`(\w+)`, m[3])
		if kind != "histogram" {
			v.labels[name] = labels
			continue
		}
		v.labels[name+"_count"], v.labels[name+"_sum"] = labels, labels
		v.labels[name+"_bucket"] = append(slices.Clone(labels), "le")
	}
}

func submatches(pattern, text string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// check says what an expression names that there is not.
func (v *vocabulary) check(expression string) []string {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	possible := map[string]bool{}
	for _, label := range targetLabels {
		possible[label] = true
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			wrong = append(wrong, v.checkSelector(s)...)
			for _, label := range v.labels[s.Name] {
				possible[label] = true
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		for _, label := range grouping(node) {
			if !possible[label] {
				wrong = append(wrong, "no metric of it has the label "+label)
			}
		}
		return nil
	})
	return wrong
}

// grouping are the labels that a node groups or matches by.
func grouping(node parser.Node) []string {
	switch n := node.(type) {
	case *parser.AggregateExpr:
		return n.Grouping
	case *parser.BinaryExpr:
		if n.VectorMatching != nil {
			return append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...)
		}
	}
	return nil
}

func (v *vocabulary) checkSelector(s *parser.VectorSelector) []string {
	own, there := v.labels[s.Name]
	if !there {
		return []string{fmt.Sprintf("there is no metric %q", s.Name)}
	}
	var wrong []string
	for _, m := range s.LabelMatchers {
		switch {
		case m.Name == model.MetricNameLabel:
		case !slices.Contains(own, m.Name) && !slices.Contains(targetLabels, m.Name):
			wrong = append(wrong, s.Name+" has no label "+m.Name)
		default:
			wrong = append(wrong, v.checkValues(s.Name, m)...)
		}
	}
	return wrong
}

// checkValues of a label whose values are constants of the API.
func (v *vocabulary) checkValues(metric string, m *labels.Matcher) []string {
	var wrong []string
	for prefix, byLabel := range v.values {
		if byLabel[m.Name] == nil || !strings.HasPrefix(metric, prefix) {
			continue
		}
		asked := m.SetMatches()
		if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
			asked = []string{m.Value}
		}
		for _, value := range asked {
			if !slices.Contains(byLabel[m.Name], value) {
				wrong = append(wrong, fmt.Sprintf("%s is never %q", m.Name, value))
			}
		}
	}
	return wrong
}

func TestWhatAnExpressionMayNotName(t *testing.T) {
	v := known(t)
	for expression, want := range map[string]string{
		`sum by (`:                          "unclosed left parenthesis",
		`mcp_connection_infos`:              `there is no metric "mcp_connection_infos"`,
		`{job="x"}`:                         `there is no metric ""`,
		`mcp_connection_info{type="Ready"}`: "mcp_connection_info has no label type",
		`mcp_connection_condition{reason="RefreshRefused"}`:        `reason is never "RefreshRefused"`,
		`mcp_connection_condition{reason=~"RefreshRejected|Gone"}`: `reason is never "Gone"`,
		`mcp_connection_failure_attempts{step!="refreshing"}`:      `step is never "refreshing"`,
		`sum by (type) (mcp_connection_info)`:                      "no metric of it has the label type",
		`mcp_connection_info * on (name) group_left (reason) mcp_connection_suspended`: "no metric of it has the " +
			"label reason",
		`mcp_connection_refresh_lateness_seconds`:                                     `there is no metric "mcp_connection_refresh_lateness_seconds"`,
		`sum by (le, pod) (rate(mcp_connection_refresh_lateness_seconds_bucket[5m]))`: "",
		`mcp_connection_condition{type=~"Ready|Probed", status!="True"}`:              "",
	} {
		got := strings.Join(v.check(expression), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

// sorted are the keys of a map.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
