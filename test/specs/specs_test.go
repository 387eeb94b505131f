package specs

import (
	"slices"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

func TestConfiguration(t *testing.T) {
	for _, test := range []struct {
		name           string
		focus, reports string
		left           time.Duration
		wantFocus      []string
		wantReport     string
		wantTimeout    time.Duration
	}{
		{name: "An empty environment changes nothing", wantTimeout: time.Hour},
		{name: "A focus is one more", focus: "policy", wantFocus: []string{"given", "policy"}, wantTimeout: time.Hour},
		{name: "A report has the suite's name", reports: "out", wantReport: "out/tenancy.xml", wantTimeout: time.Hour},
		{name: "A suite ends before the process is ended", left: 10 * time.Minute, wantTimeout: 9 * time.Minute},
		{name: "A suite keeps a time-out that is shorter", left: 2 * time.Hour, wantTimeout: time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(EnvFocus, test.focus)
			t.Setenv(EnvReports, test.reports)
			suite, reporter := types.SuiteConfig{FocusStrings: []string{"given"}, Timeout: time.Hour}, types.ReporterConfig{}
			configure(&suite, &reporter, "tenancy", test.left)
			want := test.wantFocus
			if want == nil {
				want = []string{"given"}
			}
			if !slices.Equal(suite.FocusStrings, want) {
				t.Errorf("the focus is %q, want %q", suite.FocusStrings, want)
			}
			if reporter.JUnitReport != test.wantReport {
				t.Errorf("the report is %q, want %q", reporter.JUnitReport, test.wantReport)
			}
			if suite.Timeout != test.wantTimeout {
				t.Errorf("the time-out is %s, want %s", suite.Timeout, test.wantTimeout)
			}
		})
	}
}
