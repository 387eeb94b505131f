// Package controller reconciles MCPConnections. It reads what is known of a connection, has internal/lifecycle decide
// what is due, does one effect at a time, and writes status once.
//
//	request ──► observe ──► lifecycle.Decide ──► perform ──► … ──► lifecycle.Report ──► patch status
//
// An effect asks a server or writes a Secret, and notes in the State what came of it: a failure of a server is noted
// and told, an error is one of the API server. Two rules hold for each of them. A step can be begun again at any point,
// by another process too, and does no harm: what it wrote says how far it came. And what can be spent only once (a
// code, a refresh token) is claimed in the credential Secret before it is sent, and its answer is saved before anything
// else.
//
// Every request to a stranger takes slots first (admission.go). Spends go on though the process is told to stop
// (spend.go), and beside the reconciles while the API server takes no writes (saves.go).
package controller
