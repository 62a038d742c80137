// Package steering makes the kernel send cross-node pod packets into a tunnel
// device and drop what must not leave in plaintext: from a desired State it
// derives map contents, routes and addresses, attaches the programs of package
// bpf, and follows devices as they come and go.
//
// It is called by dataplane. It knows no keys and no tunnel but an interface
// index, and it does not decide who the peers are. All that it makes is pinned
// and outlives the process; Teardown removes it.
package steering
