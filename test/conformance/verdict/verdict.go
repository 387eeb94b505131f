// Package verdict is what the conformance runner and its driver say to each other past the suite.
package verdict

import (
	"os"
	"strings"
)

// Environment of the driver, besides KUBECONFIG and what the suite sets.
const (
	// NamespaceVariable names the namespace for the connection.
	NamespaceVariable = "CONFORMANCE_NAMESPACE"
	// FileVariable names the file for the verdict.
	FileVariable = "CONFORMANCE_VERDICT"
)

const (
	behaved    = "behaved: "
	misbehaved = "misbehaved: "
)

// Verdict is one line about how operator and consumer did together.
type Verdict string

// Behaved says that all went as the scenario wants.
func Behaved(how string) Verdict { return Verdict(behaved + how) }

// Misbehaved says what did not.
func Misbehaved(err error) Verdict {
	return Verdict(misbehaved + strings.Join(strings.Fields(err.Error()), " "))
}

// OK reports whether all went as the scenario wants.
func (v Verdict) OK() bool { return strings.HasPrefix(string(v), behaved) }

// Text is the verdict without its first word.
func (v Verdict) Text() string {
	return strings.TrimPrefix(strings.TrimPrefix(string(v), behaved), misbehaved)
}

// Write leaves the verdict where the runner looks for it.
func (v Verdict) Write() error {
	file := os.Getenv(FileVariable)
	if file == "" {
		return nil // started by hand
	}
	return os.WriteFile(file, []byte(v), 0o600)
}

// Read finds the verdict of a driver that has ended.
func Read(file string) Verdict {
	text, err := os.ReadFile(file)
	if err != nil {
		return misbehaved + "the driver left no verdict"
	}
	return Verdict(text)
}
