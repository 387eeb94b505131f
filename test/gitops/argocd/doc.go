// Package argocd runs the kit for Argo CD by Argo CD's own code: health checks, the discovery of actions, and actions.
// It has a module of its own for Argo CD's dependencies, which are older than ours.
package argocd
