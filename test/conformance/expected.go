package main

import (
	"fmt"
	"os"
	"strings"
)

// readExpected reads the runs that are expected to fail, with the reason of each. A line is "LEG SCENARIO reason";
// # begins a comment.
func readExpected(file string, runs []run) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, run := range runs {
		known[run.String()] = true
	}
	expected := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 3 {
			return nil, fmt.Errorf("%s: %q has no leg, scenario and reason", file, strings.TrimSpace(line))
		}
		name := words[0] + " " + words[1]
		if !known[name] {
			return nil, fmt.Errorf("%s: there is no run %q", file, name)
		}
		if expected[name] != "" {
			return nil, fmt.Errorf("%s: %q is listed twice", file, name)
		}
		expected[name] = strings.Join(words[2:], " ")
	}
	return expected, nil
}
