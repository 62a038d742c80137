// Package tunnel says what a WireGuard tunnel is: its configuration, its
// counters, the Tunnel interface that the back ends implement, and the pure
// difference between two configurations.
//
// It makes no system call and knows no implementation: tunnel/userspace is
// wireguard-go on our own TUN and UDP ends, tunnel/kernel a WireGuard link of the
// kernel. It is called by dataplane. It never decides which packets enter a tunnel (steering does) nor who the
// peers are (keymgr does).
package tunnel
