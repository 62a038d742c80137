package udpbind_test

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// ip runs ip(8) in the test's network namespace.
func ip(t *testing.T, arguments string) (output string) {
	t.Helper()
	out, err := exec.Command(privtest.Tool(t, "ip"), strings.Fields(arguments)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", arguments, err, out)
	}
	return string(out)
}

func parse(t *testing.T, b *udpbind.Bind, text string) conn.Endpoint {
	t.Helper()
	e, err := b.ParseEndpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSendErrorsBecomeDrops: whatever the kernel says about a datagram, Send
// succeeds, every datagram is counted by its reason, and those after it go on.
func TestSendErrorsBecomeDrops(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	ip(t, "route add blackhole 198.51.100.0/25")
	ip(t, "route add unreachable 198.51.100.128/25")
	ip(t, "route add prohibit 203.0.113.0/24")
	ip(t, "-6 route add blackhole 2001:db8:1::/64")
	ip(t, "-6 route add unreachable 2001:db8:2::/64")
	ip(t, "-6 route add prohibit 2001:db8:3::/64")
	train := messages(append(repeat(1452, 9), 80)...)
	growing := messages(80, 96, 112)
	for _, c := range []struct {
		name, to string
		send     [][]byte
		want     tunnel.DropReason // empty: no drop
		dropped  uint64
	}{
		{"no route", "192.0.2.1:9", train, udpbind.DropSendUnreachable, 10},
		{"no route, no train", "192.0.2.1:9", growing, udpbind.DropSendUnreachable, 3},
		{"no IPv6 route", "[2001:db8:4::1]:9", train, udpbind.DropSendUnreachable, 10},
		{"blackhole", "198.51.100.1:9", train, udpbind.DropSendInvalid, 10},
		{"IPv6 blackhole", "[2001:db8:1::1]:9", train, udpbind.DropSendInvalid, 10},
		{"unreachable", "198.51.100.129:9", growing, udpbind.DropSendUnreachable, 3},
		{"IPv6 unreachable", "[2001:db8:2::1]:9", growing, udpbind.DropSendUnreachable, 3},
		{"prohibit", "203.0.113.1:9", train, udpbind.DropSendForbidden, 10},
		{"IPv6 prohibit", "[2001:db8:3::1]:9", train, udpbind.DropSendForbidden, 10},
		{"longer than UDP", "127.0.0.1:9", messages(80, 65508, 80), udpbind.DropSendTooBig, 1},
		// An unconnected socket is not told ECONNREFUSED, and must not be.
		{"closed port", "127.0.0.1:9", train, "", 0},
		{"closed port again", "127.0.0.1:9", train, "", 0},
		{"closed IPv6 port", "[::1]:9", train, "", 0},
		{"port 0", "127.0.0.1:0", train, udpbind.DropSendInvalid, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
			if err := a.Send(c.send, parse(t, a.Bind, c.to)); err != nil {
				t.Fatalf("send: %v", err)
			}
			want := map[tunnel.DropReason]uint64{}
			if c.want != "" {
				want[c.want] = c.dropped
			}
			s := a.Stats()
			if diff := cmp.Diff(want, nonZero(s.Drops)); diff != "" {
				t.Errorf("drops (-want +got):\n%s", diff)
			}
			if s.Offered.Datagrams.Packets != s.Sent.Datagrams.Packets+c.dropped {
				t.Errorf("offered %d, sent %d, dropped %d", s.Offered.Datagrams.Packets, s.Sent.Datagrams.Packets, c.dropped)
			}
			if !slices.Contains(s.Offloads, "udp-gso") {
				t.Error("an error that is not about trains has turned GSO off")
			}
			for _, address := range []string{"127.0.0.1", "::1"} {
				if err := a.Send(train, b.at(address)); err != nil {
					t.Fatal(err)
				}
				b.expect(len(train))
			}
		})
	}
}

// TestFullSendBuffer: datagrams that wait for a neighbour nobody answers for
// fill a small send buffer. Send waits, but not for ever.
func TestFullSendBuffer(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	ip(t, "link add here type veth peer name there")
	ip(t, "link set here up")
	ip(t, "link set there up")
	ip(t, "address add 192.0.2.1/24 dev here")
	a := newEnd(t, udpbind.Options{SendBuffer: 1, NoGSO: true})
	start := time.Now()
	if err := a.Send(messages(repeat(1452, 100)...), parse(t, a.Bind, "192.0.2.2:9")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("Send took %v", took)
	}
	s := a.Stats()
	dropped := s.Drops[udpbind.DropSendBuffer]
	if dropped == 0 || dropped+s.Sent.Transport != 100 {
		t.Errorf("%d dropped and %d sent of 100", dropped, s.Sent.Transport)
	}
}

func TestNotWireGuard(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a := newEnd(t, udpbind.Options{})
	stranger, err := net.Dial("udp4", net.JoinHostPort("127.0.0.1", fmt.Sprint(a.port)))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	good := message(80, 1)
	for _, m := range [][]byte{{}, {4}, make([]byte, 80), []byte(strings.Repeat("x", 1000)), good} {
		if _, err := stranger.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.expect(1); !slices.Equal(got[0].message, good) {
		t.Errorf("received %x", got[0].message)
	}
	want := map[tunnel.DropReason]uint64{udpbind.DropNotWireGuard: 4}
	if diff := cmp.Diff(want, nonZero(a.Stats().Drops)); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

func TestMessagesAreCountedByType(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	var all [][]byte
	for i, size := range []int{148, 92, 64, 32, 80, 80} {
		m := message(size, i)
		m[0] = byte(min(i+1, 4))
		all = append(all, m)
	}
	if err := a.Send(all, b.at("::1")); err != nil {
		t.Fatal(err)
	}
	b.expect(len(all))
	want := udpbind.Traffic{
		Datagrams:   tunnel.Counts{Packets: 6, Bytes: 148 + 92 + 64 + 32 + 80 + 80},
		Initiations: 1, Responses: 1, CookieReplies: 1, Keepalives: 1, Transport: 2,
	}
	s := a.Stats()
	for name, got := range map[string]udpbind.Traffic{"offered": s.Offered, "sent": s.Sent, "received": b.Stats().Received} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := want.Handshakes(); n != 3 {
		t.Errorf("%d handshake messages, want 3", n)
	}
}

// TestShortBuffer: a message that does not fit the caller's buffer is a drop,
// never a shortened message.
func TestShortBuffer(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a := newEnd(t, udpbind.Options{})
	b := &end{Bind: udpbind.New(udpbind.Options{}), t: t}
	t.Cleanup(func() { _ = b.Shutdown() })
	functions, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	b.port = port
	if err := a.Send(messages(100, 101, 60), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	packets := [][]byte{make([]byte, 100), make([]byte, 100)}
	sizes, endpoints := make([]int, 2), make([]conn.Endpoint, 2)
	var got []int
	for len(got) < 2 {
		n, err := functions[0](packets, sizes, endpoints)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, sizes[:n]...)
	}
	if diff := cmp.Diff([]int{100, 60}, got); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if n := b.Stats().Drops[udpbind.DropTruncated]; n != 1 {
		t.Errorf("%s is %d, want 1", udpbind.DropTruncated, n)
	}
}

func TestReceiveBufferOverflow(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{NoGSO: true}), newEnd(t, udpbind.Options{ReceiveBuffer: 1})
	b.close()
	const sent = 100
	if err := a.Send(messages(repeat(1452, sent)...), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	// Counted although nothing is read after it.
	dropped := b.Stats().Drops[udpbind.DropReceiveBuffer]
	if dropped == 0 || dropped >= sent {
		t.Fatalf("%s is %d of %d", udpbind.DropReceiveBuffer, dropped, sent)
	}
	b.open(0)
	b.expect(sent - int(dropped))
	if again := b.Stats().Drops[udpbind.DropReceiveBuffer]; again != dropped {
		t.Errorf("%s is %d, was %d: counted twice", udpbind.DropReceiveBuffer, again, dropped)
	}
}
