package interop_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// theirs is the other implementation's link.
type theirs struct{ end }

// apply makes the link what config says, by wg(8).
func (o *theirs) apply(t *testing.T, c tunnel.Config) {
	t.Helper()
	o.Feed(t, configText(c), "wg syncconf %s /proc/self/fd/0", o.name)
}

// configText is a configuration as wg(8) reads it.
func configText(c tunnel.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", c.PrivateKey.RevealBase64(), c.ListenPort)
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "[Peer]\nPublicKey = %s\n", p.PublicKey)
		// syncconf leaves a preshared key as it is that is not named.
		fmt.Fprintf(&b, "PresharedKey = %s\n", p.PresharedKey.RevealBase64())
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "Endpoint = %s\n", p.Endpoint)
		}
		if p.PersistentKeepalive != 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", p.PersistentKeepalive/time.Second)
		}
		for _, ip := range p.AllowedIPs {
			fmt.Fprintf(&b, "AllowedIPs = %s\n", ip)
		}
	}
	return b.String()
}

// peer is what the link knows of one.
func (o *theirs) peer(t *testing.T, key wgkey.PublicKey) tunnel.PeerStats {
	t.Helper()
	_, peers := dump(t, o.end)
	for _, p := range peers {
		if p.key == key.String() {
			return p.stats(t)
		}
	}
	t.Fatalf("the other end has no peer %s", key)
	return tunnel.PeerStats{}
}

// dumped are the lines of `wg show NAME dump`, as wg(8) describes them.
type dumpedLink struct{ privateKey, publicKey, port, mark string }

type dumpedPeer struct{ key, psk, endpoint, allowed, handshake, rx, tx, keepalive string }

func dump(t *testing.T, e end) (link dumpedLink, peers []dumpedPeer) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(e.Sh(t, "wg show %s dump", e.name)), "\n") {
		f := strings.Split(line, "\t")
		switch {
		case i == 0 && len(f) == 4:
			link = dumpedLink{f[0], f[1], f[2], f[3]}
		case i > 0 && len(f) == 8:
			peers = append(peers, dumpedPeer{f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]})
		default:
			t.Fatalf("line %d of the dump has %d fields", i+1, len(f)) // they may be keys
		}
	}
	return link, peers
}

func (p dumpedPeer) stats(t *testing.T) tunnel.PeerStats {
	t.Helper()
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("a number in the dump: %v", err)
		}
		return n
	}
	s := tunnel.PeerStats{RxBytes: number(p.rx), TxBytes: number(p.tx)}
	var err error
	if s.PublicKey, err = wgkey.ParsePublicKey(p.key); err != nil {
		t.Fatal(err)
	}
	if n := number(p.handshake); n != 0 {
		s.LastHandshake = time.Unix(int64(n), 0)
	}
	if p.endpoint != "(none)" {
		if s.Endpoint, err = netip.ParseAddrPort(p.endpoint); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
