// Package interop runs the operator against authorization servers written by others. Each guards an MCP server
// of the official Go SDK; the scenario is the same for all of them, and the table in interop_test.go lists them.
// make interop installs what npm has to bring.
package interop
