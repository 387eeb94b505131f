// Package doctor is kubectl mcpc doctor: it tries what the operator would try, from where it runs, and tells of every
// request.
//
// Discovery is the operator's own (internal/mcpoauth), with a recorder under its client: what doctor says and what the
// operator does come of the same code. Nothing is registered, no credential is sent, and nothing is written to the
// cluster.
package doctor
