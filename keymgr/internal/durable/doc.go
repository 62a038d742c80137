// Package durable replaces a file so that a crash at any moment leaves the old
// content or the new one, whole, and never less.
//
// It is called by keymgr (secrets, claims) and keymgr/file (this node's
// record). It takes no locks: two writers of one file take turns by
// themselves.
package durable
