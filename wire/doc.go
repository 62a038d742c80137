// Package wire tells what is on a network that others can read: the tunnels'
// datagrams, packets of pods in plaintext, and the rest.
//
//	classify.go       pure: a frame's class, by the addresses in it
//	owners.go         pure: whose an address is
//	message.go        pure: WireGuard's messages, and handshakes without answer
//	tally.go          pure: what a capture saw, added up
//	capture_linux.go  packet sockets
//	probe_linux.go    a frame that proves that a capture sees
//
// It is called by `wgsteer check --wire` and by internal/netlab. It only
// watches: nothing that it sees is held up or changed, and it decides nothing
// that package bpf decides. It needs CAP_NET_RAW.
package wire
