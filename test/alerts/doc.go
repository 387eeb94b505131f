// Package alerts tests the alert rules and the dashboard with Prometheus' own packages. It has a module of its own, because nothing
// that it needs belongs near the operator's.
package alerts
