// Package harness holds what whole-program tests share: a real control plane,
// the operator as a child process under its own ServiceAccount, a browser that
// gives consent, an MCP server behind a bearer token, and short helpers to apply,
// wait and read. The demo, interop and later suites are built from it.
//
// Nothing here is linked into the operator.
package harness

// Logf tells a person what is going on, one line per call. testing.T.Logf is one.
type Logf func(format string, args ...any)

// Silent is a Logf that says nothing.
func Silent(string, ...any) {}
