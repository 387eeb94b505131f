// Package tenancy holds tests of what a cluster's owner relies on, against a real API server: the Roles, the admission
// policies, the quota and the pod that config/ describes.
package tenancy
