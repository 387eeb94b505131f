// Package imported is kubectl mcpc import: a connection for a grant that another tool keeps today.
//
// It writes what spec.importSecretRef asks for, and refuses in one sentence what does not fit. A secret value goes into
// the Secret and nowhere else.
package imported
