// Package consumers proves that what is in examples/consumers follows every refresh, or says that it does not: clients
// run against a real server through real refreshes, with files that are swapped by kubelet's own code, and manifests
// are applied to a real API server under the schemas of those who read them. All is tests; it has a module of its own
// for kubelet's code.
package consumers
