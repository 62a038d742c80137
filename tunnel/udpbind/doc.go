// Package udpbind is the UDP end of a userspace tunnel: wireguard-go's
// conn.Bind on sockets that belong to this package.
//
// The sockets outlive what wireguard-go calls closing: it closes and reopens
// its Bind on every change of listen port or firewall mark, and a socket that
// is really closed loses what it has received. Here Close only parks the
// readers, between two deliveries; Shutdown closes.
//
// No error about a packet reaches the device, because wireguard-go ends a
// reader at the first error it does not know, silently. Errors become drops,
// counted by the reasons in drops.go, and readers that make no progress are
// seen in Stats.
//
// A datagram's way in: recvmmsg into slots of 64 KiB (inbox_linux.go), split
// where the kernel coalesced (UDP_GRO), judged and counted one by one
// (message.go), copied to the caller. This is the place where every message and
// its receiver index can be seen. Out: trains of datagrams planned by a pure
// function (train.go), sent by sendmmsg with UDP_SEGMENT (send_linux.go); what
// to do about an error is a pure function too (remedy_linux.go).
//
// It is not a transport: it holds no keys and knows no peers. tunnel/userspace
// calls it. It never logs, and never starts a goroutine.
package udpbind
