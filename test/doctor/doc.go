// Package doctor tries kubectl mcpc doctor, report and import at a real API server with a live operator: the operator's
// log is served by a stand-in for the kubelet, so that it is read the way it is in a cluster.
package doctor
