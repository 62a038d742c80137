package udpbind_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// addAddress gives lo an address, and waits until it is usable: the kernel
// makes the local route of an IPv6 one a little later.
func addAddress(t *testing.T, prefix string) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	if p.Addr().Is4() {
		ip(t, "address add "+prefix+" dev lo")
		return
	}
	ip(t, "address add "+prefix+" dev lo nodad")
	waitFor(t, prefix+" to be local", func() bool {
		return strings.Contains(ip(t, "-6 route show table local"), "local "+p.Addr().String()+" ")
	})
}

func TestAnswersLeaveFromWhereTheyWereAsked(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	for _, c := range []struct{ name, first, second string }{
		{"IPv4", "192.0.2.1/32", "192.0.2.2/32"},
		{"IPv6", "2001:db8::1/128", "2001:db8::2/128"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := netip.MustParsePrefix(c.first).Addr(), netip.MustParsePrefix(c.second).Addr()
			addAddress(t, c.first)
			addAddress(t, c.second)
			server := newEnd(t, udpbind.Options{})
			// A client with an address of its own: else the kernel would use the
			// server's, to itself.
			client, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(first, 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			train := messages(repeat(1452, 5)...)
			ask := func() conn.Endpoint {
				t.Helper()
				if _, err := client.WriteToUDPAddrPort(message(80, 1), netip.AddrPortFrom(second, server.port)); err != nil {
					t.Fatal(err)
				}
				return server.expect(1)[0].endpoint
			}
			answer := func(to conn.Endpoint) (from netip.Addr) {
				t.Helper()
				if err := server.Send(train, to); err != nil {
					t.Fatal(err)
				}
				for i := range train {
					_, sender, err := client.ReadFromUDPAddrPort(make([]byte, 2000))
					if err != nil || i > 0 && sender.Addr() != from {
						t.Fatalf("answer %d from %v, error %v; the one before from %v", i, sender, err, from)
					}
					from = sender.Addr()
				}
				return from
			}

			asker := ask()
			if asker.SrcIP() != second || asker.SrcToString() != second.String() {
				t.Errorf("received on %v (%q), want %v", asker.SrcIP(), asker.SrcToString(), second)
			}
			if got := answer(asker); got != second {
				t.Errorf("answer from %v, want %v", got, second)
			}
			if again := ask(); again != asker {
				t.Error("a second message of one sender has another endpoint")
			}

			asker.ClearSrc()
			if asker.SrcIP().IsValid() || asker.SrcToString() != "" {
				t.Errorf("source %v after ClearSrc", asker.SrcIP())
			}
			if got := answer(asker); got == second {
				t.Errorf("answer from %v without a source: this test shows nothing", got)
			}
			if asker = ask(); asker.SrcIP() != second {
				t.Errorf("received on %v after ClearSrc, want %v", asker.SrcIP(), second)
			}

			ip(t, "address del "+c.second+" dev lo")
			if got := answer(asker); got == second {
				t.Errorf("answer from %v, which is gone", got)
			}
			if asker.SrcIP().IsValid() {
				t.Errorf("the stale source %v is still there", asker.SrcIP())
			}
			if d := nonZero(server.Stats().Drops); len(d) > 0 {
				t.Errorf("drops %v", d)
			}
		})
	}
}

func TestParseEndpoint(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	b := udpbind.New(udpbind.Options{})
	for text, want := range map[string]string{
		"192.0.2.1:51871":             "192.0.2.1:51871",
		"[::ffff:192.0.2.1]:51871":    "192.0.2.1:51871",
		"[2001:db8::1]:51871":         "[2001:db8::1]:51871",
		"[fe80::1%" + lo.Name + "]:1": "[fe80::1%" + lo.Name + "]:1",
		"[fe80::1%7]:1":               "[fe80::1%7]:1",
		"192.0.2.1":                   "",
		"node-a:51871":                "",
		"[fe80::1%none]:1":            "",
		"":                            "",
	} {
		e, err := b.ParseEndpoint(text)
		if want == "" {
			if err == nil || e != nil {
				t.Errorf("%q: %v, %v, want an error", text, e, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if e.DstToString() != want || e.DstIP() != netip.MustParseAddrPort(want).Addr() {
			t.Errorf("%q is %s, address %v, want %s", text, e.DstToString(), e.DstIP(), want)
		}
		bytes, _ := netip.MustParseAddrPort(want).MarshalBinary()
		if diff := cmp.Diff(bytes, e.DstToBytes()); diff != "" {
			t.Errorf("%q as bytes (-want +got):\n%s", text, diff)
		}
	}
}

func TestLinkLocal(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	addAddress(t, "fe80::1/64")
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	if err := a.Send(messages(80), b.at("fe80::1%lo")); err != nil {
		t.Fatal(err)
	}
	from := b.expect(1)[0].endpoint
	if err := b.Send(messages(80), from); err != nil {
		t.Fatal(err)
	}
	a.expect(1)
	// What UAPI prints can be set again.
	if err := b.Send(messages(80), parse(t, b.Bind, from.DstToString())); err != nil {
		t.Fatal(err)
	}
	a.expect(1)
}
