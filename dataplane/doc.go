// Package dataplane is wgsteer as a library: a Config goes in, a running data
// plane comes out. It makes this node's key, publishes its record, follows the
// others', and keeps tunnel and steering as the snapshot says.
//
// An agent embeds it with New, Run, Status and Reload; cmd/wgsteer is one such
// agent. The decisions are in plan.go, which is pure. It opens no control
// socket, reads no configuration file and serves no metrics: those are the
// embedder's. So is GOMAXPROCS, best one more than there are CPUs: what
// reconciles runs on threads of a lower priority (nice), and holds one of Go's
// processors while it waits for those that carry packets.
package dataplane
