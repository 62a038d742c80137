package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// Stats implements tunnel.Tunnel. The kernel counts messages, handshakes and
// keepalives among them, since the link was made: FromUDP and ToUDP. It does not
// count packets on the inside, so FromTUN, ToTUN and TUNReads stay zero; there are
// no Offloads to name.
func (t *Tunnel) Stats() (stats tunnel.Stats, err error) {
	err = t.with(func(d *device) (err error) {
		if stats, err = d.stats(); err != nil {
			return err
		}
		if w := t.watched.Load(); w != nil {
			stats.Failing, stats.Note = w.failing, w.note
		}
		return nil
	})
	return stats, err
}

// Look is the Stats of the link that Find finds, and whether there is one: no Run need
// live for it.
func Look(name string) (stats tunnel.Stats, there bool, err error) {
	found, _, err := Find(name)
	if err != nil || found == (tunnel.Link{}) {
		return stats, false, err
	}
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return stats, true, fmt.Errorf("open netlink: %w", err)
	}
	d := &device{name: name, index: found.Index, links: links}
	if d.wg, err = openFamily(name); err == nil {
		stats, err = d.stats()
	}
	return stats, true, errors.Join(err, d.close())
}

func (d *device) stats() (tunnel.Stats, error) {
	s, err := d.read()
	if err != nil {
		return tunnel.Stats{}, err
	}
	link, err := d.link()
	if err != nil {
		return tunnel.Stats{}, err
	}
	return statsOf(s, link.Attrs().Statistics), nil
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
