package udpbind_test

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// opened is a Bind in a host's namespace without readers, its receive function for IPv4,
// and where that receives.
func opened(b *testing.B, h *privtest.Host, options udpbind.Options) (bind *udpbind.Bind, receive conn.ReceiveFunc, at conn.Endpoint) {
	b.Helper()
	bind = udpbind.New(options)
	var functions []conn.ReceiveFunc
	var port uint16
	var err error
	h.Do(func() { functions, port, err = bind.Open(0) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bind.Shutdown(); err != nil {
			b.Error(err)
		}
	})
	at, err = bind.ParseEndpoint(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	return bind, functions[0], at
}

// BenchmarkSend is what it takes to send a batch to one peer: into a network that drops
// it where its way in begins.
func BenchmarkSend(b *testing.B) {
	privtest.Tool(b, "nft")
	h := privtest.NewHost(b, unix.CLONE_NEWNET)
	h.Sh(b, "nft 'table inet sink { chain in { type filter hook prerouting priority raw; policy drop; }; }'")
	for _, size := range []int{64, 512, 1452} {
		for _, batch := range []int{1, 128} {
			for _, gso := range []bool{true, false} {
				if batch == 1 && !gso {
					continue // there is nothing to join
				}
				b.Run(fmt.Sprintf("size=%d/batch=%d/gso=%v", size, batch, gso), func(b *testing.B) {
					bind, _, _ := opened(b, h, udpbind.Options{NoGSO: !gso})
					_, _, to := opened(b, h, udpbind.Options{})
					datagrams := messages(repeat(size, batch)...)
					b.SetBytes(bytesOf(datagrams))
					b.ReportAllocs()
					for b.Loop() {
						if err := bind.Send(datagrams, to); err != nil {
							b.Fatal(err)
						}
					}
					perDatagram(b, batch)
					lossless(b, bind)
				})
			}
		}
	}
}

// BenchmarkReceive is what it takes to receive datagrams that wait in the socket, as
// they were sent: one by one, or in trains of up to 64; who sent them is not in it.
func BenchmarkReceive(b *testing.B) {
	const waiting = 1024
	h := privtest.NewHost(b, unix.CLONE_NEWNET)
	packets, sizes, endpoints := buffers(udpbind.BatchSize)
	for _, size := range []int{64, 512, 1452} {
		for _, trains := range []bool{true, false} {
			b.Run(fmt.Sprintf("size=%d/trains=%v", size, trains), func(b *testing.B) {
				sender, _, _ := opened(b, h, udpbind.Options{NoGSO: !trains})
				bind, receive, to := opened(b, h, udpbind.Options{})
				datagrams := messages(repeat(size, waiting)...)
				b.SetBytes(bytesOf(datagrams))
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					if err := sender.Send(datagrams, to); err != nil {
						b.Fatal(err)
					}
					lossless(b, bind) // else it would wait for ever for the rest
					b.StartTimer()
					for got := 0; got < waiting; {
						n, err := receive(packets, sizes, endpoints)
						if err != nil {
							b.Fatal(err)
						}
						got += n
					}
				}
				perDatagram(b, waiting)
				lossless(b, sender)
			})
		}
	}
}

// lossless fails a benchmark that measured drops.
func lossless(b *testing.B, bind *udpbind.Bind) {
	b.Helper()
	if drops := nonZero(bind.Stats().Drops); len(drops) > 0 {
		b.Fatalf("drops %v", drops)
	}
}

func bytesOf(datagrams [][]byte) int64 { return int64(len(slices.Concat(datagrams...))) }

// perDatagram reports the time of one of the datagrams of an operation.
func perDatagram(b *testing.B, datagrams int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(datagrams), "ns/datagram")
}
