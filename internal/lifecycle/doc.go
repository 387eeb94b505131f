// Package lifecycle decides what is done for a connection, and tells how it is. It asks nobody: not the API server, not
// a server outside, not a clock.
//
// State is all that one reconcile knows of a connection. Activities, one in each file, say from it what is to be done
// and when: they contribute the tasks of the agenda. Decide names the first of them that is due, Schedule the instant
// of the next, Report the whole status. After a step the controller notes here what came of it: what is stored, what
// failed and when that is tried again.
//
//	State ──► agenda ──┬─► Decide ──► the controller performs the step ──► State
//	                   ├─► Schedule: when to look again
//	                   └─► Report: conditions, failures, status.next
//
// Two tables are the only lists of their kind: steps (steps.go) and reasons (internal/reasons). What holds of every
// status stands in laws.go. As everything here is a function of the time and of a State, tests need neither a server
// nor a pause, and try it with random states.
package lifecycle
