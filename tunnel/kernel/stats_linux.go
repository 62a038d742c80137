package kernel

import (
	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Stats implements tunnel.Tunnel. The kernel counts messages, handshakes and
// keepalives among them, since the link was made: FromUDP and ToUDP. It does not
// count packets on the inside, so FromTUN, ToTUN and TUNReads stay zero; there are
// no Offloads to name.
func (t *Tunnel) Stats() (stats tunnel.Stats, err error) {
	err = t.with(func(d *device) error {
		s, err := d.read()
		if err != nil {
			return err
		}
		link, err := d.link()
		if err != nil {
			return err
		}
		stats = statsOf(s, link.Attrs().Statistics)
		if w := t.watched.Load(); w != nil {
			stats.Failing, stats.Note = w.failing, w.note
		}
		return nil
	})
	return stats, err
}

// statsOf takes nil for a link without counters.
func statsOf(s state, l *netlink.LinkStatistics) tunnel.Stats {
	if l == nil {
		l = new(netlink.LinkStatistics)
	}
	return tunnel.Stats{
		PublicKey: s.config.PrivateKey.Public(), ListenPort: s.config.ListenPort, Peers: s.peers,
		FromUDP: tunnel.Counts{Packets: l.RxPackets, Bytes: l.RxBytes},
		ToUDP:   tunnel.Counts{Packets: l.TxPackets, Bytes: l.TxBytes},
		Drops: map[tunnel.DropReason]uint64{
			DropLinkTx: l.TxDropped, DropLinkTxError: l.TxErrors, DropLinkRx: l.RxDropped, DropLinkRxError: l.RxErrors,
		},
		Offloads: []string{},
	}
}
