// Package report is kubectl mcpc report: what an issue about a connection needs, without what must not leave the house.
//
// No Secret is read. Of the object only fields that this program knows are kept, values that may be secret are left
// out, and every text is scrubbed: of what was left out, of links, and of whatever looks like a token.
package report
