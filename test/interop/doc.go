// Package interop runs the operator against servers written by others: authorization servers of four projects, each
// guarding an MCP server of the official Go or TypeScript SDK. The scenario is the same for all of them, whether a
// person consents or not, and the table in interop_test.go lists them.
//
// make interop installs what npm has to bring; the servers in Go are a module of their own in goservers.
package interop
