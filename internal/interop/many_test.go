package interop_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// manyPeers is how many peers an end has; of ours, as many as a machine bears
// are links of the other implementation.
const manyPeers = 1000

// member is one of many links on the other host, at 10.10.x.y.
type member struct {
	end
	addr netip.Addr
}

// TestTunnelManyPeers: our end has 1,000 peers, shakes hands with all of them at
// once, and carries packets to and from each; the first of them has 1,000 as well.
func TestTunnelManyPeers(t *testing.T) {
	others(t, func(t *testing.T, other implementation) {
		p := newHalf(t, syscall.CLONE_NEWNET)
		members := p.members(t, other, min(other.links, manyPeers))
		mine := tunnel.Config{PrivateKey: p.ours.key, ListenPort: p.ours.port, MTU: 1420}
		for _, m := range members {
			mine.Peers = append(mine.Peers, tunnel.Peer{PublicKey: m.key.Public(), Endpoint: netip.AddrPortFrom(m.outer4(), m.port),
				AllowedIPs: []netip.Prefix{netip.PrefixFrom(m.addr, 32)}})
		}
		mine.Peers = append(mine.Peers, strangers(t, manyPeers-len(members))...)
		p.ours.apply(t, mine)
		p.ours.Sh(t, "ip addr add %v/32 dev %s; ip route add 10.10.0.0/16 dev %s", p.ours.inner4(), p.ours.name, p.ours.name)

		began := time.Now()
		until(t, "session with each", func() bool {
			n := 0
			for _, s := range p.ours.stats(t).Peers {
				if !s.LastHandshake.IsZero() {
					n++
				}
			}
			return n == len(members)
		})
		t.Logf("%d peers, of which %d are links; sessions with all of these after %v", len(mine.Peers), len(members), time.Since(began).Round(time.Millisecond))
		for _, m := range members {
			c := p.ours.dialTo(t, "udp", netip.AddrPortFrom(m.addr, memberPort))
			until(t, "echo from "+m.addr.String(), func() bool { return echo(c, []byte(m.addr.String()), time.Second) })
			c.Close()
		}
		if _, peers := dump(t, members[0].end); len(peers) != manyPeers {
			t.Errorf("the first link has %d peers, want %d", len(peers), manyPeers)
		}
	})
}

// memberPort is where each link answers, by itself.
const memberPort = 5007

// members makes links of the other implementation on the other host, that know
// our end; the first has strangers for peers beside.
func (p *pair) members(t *testing.T, other implementation, n int) []member {
	t.Helper()
	// All routes to our end but the first would be the wrong way in.
	p.theirs.Sh(t, "for f in all default; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
	var members []member
	var names []string
	// One process for all: a thousand of them take minutes where a machine is emulated.
	var addresses, configurations strings.Builder
	for i := range n {
		m := member{newEnd(t, p.theirs.Host, 2), netip.AddrFrom4([4]byte{10, 10, byte(i / 250), byte(i%250 + 1)})}
		m.port = uint16(20_000 + i)
		c := tunnel.Config{PrivateKey: m.key, ListenPort: m.port, Peers: []tunnel.Peer{{
			PublicKey: p.ours.key.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(p.ours.inner4(), 32)},
		}}}
		if i == 0 {
			c.Peers = append(c.Peers, strangers(t, manyPeers-1)...)
		}
		fmt.Fprintf(&addresses, "addr add %v/32 dev %s\nroute add %v/32 dev %s metric %d\n", m.addr, m.name, p.ours.inner4(), m.name, i+1)
		fmt.Fprintf(&configurations, "wg setconf %s /proc/self/fd/0 <<'END'\n%sEND\n", m.name, configText(c))
		names, members = append(names, m.name), append(members, m)
	}
	other.start(t, p.theirs.Host, names...)
	p.theirs.Feed(t, configurations.String(), "exec sh -e")
	p.theirs.Feed(t, addresses.String(), "ip -batch -")
	for _, m := range members {
		m.answer(t)
	}
	return members
}

// answer echoes datagrams that come out of this link, through it.
func (m member) answer(t *testing.T) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), m.name) }); e != nil {
			return e
		}
		return err
	}}
	var c net.PacketConn
	var err error
	m.Do(func() { c, err = config.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", memberPort)) })
	if err != nil {
		t.Fatal(err)
	}
	echoDatagrams(t, c)
}

// strangers are peers that nobody runs.
func strangers(t *testing.T, n int) []tunnel.Peer {
	t.Helper()
	var peers []tunnel.Peer
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 11, byte(i / 250), byte(i%250 + 1)})
		peers = append(peers, tunnel.Peer{PublicKey: newKey(t).Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(ip, 32)}})
	}
	return peers
}
