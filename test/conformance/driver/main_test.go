package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestJudge(t *testing.T) {
	mismatch := fmt.Errorf("waited: %w", &refusal{reason: v1alpha1.ReasonResourceMismatch, message: "not this server"})
	for name, test := range map[string]struct {
		scenario string
		err      error
		ok       bool
	}{
		"used":                         {"auth/metadata-default", nil, true},
		"not used":                     {"auth/metadata-default", errors.New("time is up"), false},
		"refused without need":         {"auth/metadata-default", mismatch, false},
		"refused":                      {"auth/resource-mismatch", mismatch, true},
		"refused for another reason":   {"auth/metadata-issuer-mismatch", mismatch, false},
		"used instead of refused":      {"auth/resource-mismatch", nil, false},
		"neither used nor refused yet": {"auth/resource-mismatch", errors.New("time is up"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if v := judge(test.scenario, test.err); v.OK() != test.ok {
				t.Fatal(v)
			}
		})
	}
}
