// Package chart holds tests of charts/mcp-connection-operator with Helm's own library: what it renders, what it
// refuses, and a release's life at a real API server. A module of its own keeps Helm out of the operator's.
package chart
