// Package kernel is the tunnel that the kernel's own WireGuard runs: a link of
// kind wireguard by netlink, its keys and peers by wgctrl.
//
// Tunnel.Run makes the link, or adopts the one that an earlier process left, and
// watches it; Apply brings it to a configuration by the smallest change
// (changes.go). What wg(8) changed behind our back is known to the next Apply and
// set right by it; except endpoints, which belong to whoever heard the peer last.
//
// The link outlives its process: when Run ends, or the process is killed, the
// kernel goes on to carry packets with the keys and peers of then. The next Run of
// that name adopts the link; where key, port and peers are the same, its sessions
// stay. Remove removes it. The link's alias, Mark, says that it is ours: one that
// does not carry it is never touched.
//
// Probe tells whether such a link can be made here, by making one of another name
// and removing it.
//
// It works in the network namespace of the thread that calls Run, Find, Remove,
// RemoveStrays or Probe. It is called by dataplane. It sets no address and no route,
// holds no key longer than it takes to hand it over, and never sees a packet.
package kernel
