// Package tundev is the TUN end of a userspace tunnel: it opens the device
// itself, owns its descriptor, and lends it to wireguard-go one Queue at a
// time.
//
// The descriptor outlives the engine: closing a Queue, which wireguard-go does
// when its device closes, leaves the link, its address and what is queued in
// it in place for the next Queue. TUN.Close ends all of that; the link is not
// persistent.
//
// Whatever goes wrong with a packet becomes a counted drop (drops.go), never
// an error to the engine, which would end its device on the first one. Only a
// link that is gone cannot be mended; Gone tells.
//
// Segmentation and coalescing are wireguard-go's own (tun.NativeTun on a
// duplicate of the descriptor). It is called by tunnel/userspace. It puts no
// address or route on the link: steering does.
package tundev
