// Package gitops judges objects in every state of a status, and live ones, with the code of the GitOps tools that judge
// them: kstatus, Flux's expressions, and Argo CD's health scripts in the Lua engine that Argo CD uses. All is tests; it
// has a module of its own, because nothing that it needs belongs near the operator's.
package gitops
