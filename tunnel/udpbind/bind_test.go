package udpbind_test

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// repeat is n times size.
func repeat(size, n int) []int { return slices.Repeat([]int{size}, n) }

func TestSendAndReceive(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	sizes := map[string][]int{
		"one":                    {1452},
		"keepalive":              {32},
		"equal lengths":          repeat(1452, 64),
		"a shorter last one":     append(repeat(1452, 10), 100),
		"shorter in the middle":  slices.Concat(repeat(1452, 10), []int{100}, repeat(1452, 10)),
		"growing":                {32, 48, 64, 80, 1452, 9000},
		"shrinking":              {9000, 1452, 80, 64, 48, 32},
		"more than a train":      repeat(80, 128),
		"more bytes than IP has": repeat(9000, 20),
		"more than a batch":      repeat(1452, 300),
		"longest":                {65507, 65507},
		"hundreds of trains":     slices.Repeat([]int{64, 48, 48, 80}, 100),
	}
	options := map[string]udpbind.Options{
		"offloads":    {},
		"no offloads": {NoGSO: true, NoGRO: true},
		"GSO":         {NoGRO: true},
		"GRO":         {NoGSO: true},
	}
	for with, o := range options {
		for _, address := range []string{"127.0.0.1", "::1"} {
			a, b := newEnd(t, o), newEnd(t, o)
			for name, s := range sizes {
				t.Run(with+"/"+address+"/"+name, func(t *testing.T) {
					want := messages(s...)
					if err := a.Send(want, b.at(address)); err != nil {
						t.Fatal(err)
					}
					got := b.expect(len(want))
					if diff := cmp.Diff(want, contents(got), cmp.Comparer(bytes.Equal)); diff != "" {
						t.Errorf("messages (-sent +received):\n%s", diff)
					}
					for _, r := range got {
						if want := a.at(address).DstToString(); r.endpoint.DstToString() != want {
							t.Fatalf("received from %s, want %s", r.endpoint.DstToString(), want)
						}
					}
				})
			}
			if sent, got := a.Stats(), b.Stats(); sent.Sent != got.Received || sent.Offered != sent.Sent {
				t.Errorf("%s: offered %+v, sent %+v, received %+v", with, sent.Offered, sent.Sent, got.Received)
			}
			for _, e := range []*end{a, b} {
				if d := nonZero(e.Stats().Drops); len(d) > 0 {
					t.Errorf("%s: drops %v", with, d)
				}
			}
		}
	}
}

func TestNewOpensNothing(t *testing.T) {
	b := udpbind.New(udpbind.Options{})
	if s := b.Stats(); s.Port != 0 || len(s.Readers) != 0 || len(s.Offloads) != 0 {
		t.Errorf("a new Bind has %+v", s)
	}
	for range 2 {
		if err := errors.Join(b.Close(), b.Shutdown()); err != nil {
			t.Errorf("closing what is not open: %v", err)
		}
	}
	e, err := b.ParseEndpoint("192.0.2.1:7")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Send(messages(80, 32), e); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send on a closed Bind: %v, want net.ErrClosed", err)
	}
	want := map[tunnel.DropReason]uint64{udpbind.DropSendClosed: 2}
	if diff := cmp.Diff(want, nonZero(b.Stats().Drops)); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

func TestForeignEndpoint(t *testing.T) {
	b := udpbind.New(udpbind.Options{})
	if err := b.Send(messages(80), &conn.StdNetEndpoint{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("send to another package's endpoint: %v", err)
	}
	if n := b.Stats().Drops[udpbind.DropSendFamily]; n != 1 {
		t.Errorf("%s is %d, want 1", udpbind.DropSendFamily, n)
	}
}
