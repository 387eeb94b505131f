// Package specs runs the Ginkgo specs of a package as make test wants them.
package specs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
)

const (
	// EnvFocus names a regular expression: only specs whose text matches run. A flag would not do: packages without specs
	// know none of Ginkgo's.
	EnvFocus = "TESTFOCUS"
	// EnvReports names a folder for JUnit reports, a file per suite.
	EnvReports = "JUNIT_DIR"
)

// Run runs the specs of a package, as its TestSpecs and under this name, which is also the folder of the package.
func Run(t *testing.T, name string) {
	t.Helper()
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	var left time.Duration
	if deadline, ok := t.Deadline(); ok {
		left = time.Until(deadline)
	}
	configure(&suite, &reporter, name, left)
	ginkgo.RunSpecs(t, name, suite, reporter)
}

// configure sets what the environment says. left is the time until go test ends the process, 0 if it does not: the
// suite ends earlier, so that it still stops what it has started.
func configure(suite *types.SuiteConfig, reporter *types.ReporterConfig, name string, left time.Duration) {
	if focus := os.Getenv(EnvFocus); focus != "" {
		suite.FocusStrings = append(suite.FocusStrings, focus)
	}
	if dir := os.Getenv(EnvReports); dir != "" {
		reporter.JUnitReport = filepath.Join(dir, name+".xml")
	}
	if left > 0 {
		suite.Timeout = min(suite.Timeout, left*9/10)
	}
}
