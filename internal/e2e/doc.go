// Package e2e tests the built binary as a whole: nodes and pods of
// internal/netlab, a daemon on each node, real traffic, a capture of the wire.
//
// It has no code of its own; nobody imports it. What one package can test alone
// is tested there.
package e2e
