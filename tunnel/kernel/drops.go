package kernel

import "github.com/wgsteer/wgsteer/tunnel"

// What the kernel counts as lost on the link (`ip -s link`). What is not authentic,
// or replayed, it drops without a count.
const (
	// DropLinkTx: packets whose peer's queue was full, or was emptied because no
	// session came about; and encrypted ones that the host did not take, such as
	// by a firewall's verdict on its output (iptunnel_xmit_stats).
	DropLinkTx tunnel.DropReason = "link_tx_dropped"
	// DropLinkTxError: packets that no peer takes, or whose peer has no known
	// endpoint.
	DropLinkTxError tunnel.DropReason = "link_tx_errors"
	// DropLinkRx: decrypted packets that the host's stack did not take.
	DropLinkRx tunnel.DropReason = "link_rx_dropped"
	// DropLinkRxError: decrypted messages that held no IP packet, or one of a source
	// that the peer must not use.
	DropLinkRxError tunnel.DropReason = "link_rx_errors"
)

// Reasons are all reasons of this package; Stats has a count for each.
func Reasons() []tunnel.DropReason {
	return []tunnel.DropReason{DropLinkTx, DropLinkTxError, DropLinkRx, DropLinkRxError}
}
