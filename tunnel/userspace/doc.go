// Package userspace is the tunnel that needs no WireGuard in the kernel:
// wireguard-go's device on our own TUN (tundev) and UDP (udpbind) ends.
//
// Tunnel.Run opens and serves it; Apply brings it to a configuration by the
// smallest change, in UAPI text (uapi.go); the engine's own state is read back
// the same way (state.go). So what wg(8) changed behind our back, through the
// UAPI socket (socket_linux.go), is known to the next Apply and set right by
// it; except endpoints, which belong to whoever heard the peer last.
//
// A new or changed peer is greeted (greet.go) and the readers of both ends are
// watched (watch.go). Probe shakes hands without a TUN, to see which peers can
// be reached.
//
// A standalone tunnel (standalone.go) is configured by wg(8) alone and follows
// its link: the same engine as a drop-in for wireguard-go.
//
// It works in the network namespace of the threads that call Run and Apply.
// It is called by dataplane and cmd/wgsteer. It sets no address and no route,
// holds no key longer than it takes to hand it to the engine, and logs nothing
// per packet.
package userspace
