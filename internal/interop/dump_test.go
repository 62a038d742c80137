package interop_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

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
