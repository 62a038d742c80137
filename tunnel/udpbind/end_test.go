package udpbind_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// patience is a generous bound for what happens at once on an idle machine.
const patience = 20 * time.Second

type received struct {
	message  []byte
	endpoint conn.Endpoint
}

// end is a Bind with readers as the engine has them.
type end struct {
	*udpbind.Bind
	t       testing.TB
	port    uint16
	readers sync.WaitGroup
	inbox   chan received
}

func newEnd(t testing.TB, options udpbind.Options) *end {
	t.Helper()
	e := &end{Bind: udpbind.New(options), t: t, inbox: make(chan received, 1<<16)}
	e.open(0)
	t.Cleanup(func() {
		if err := e.Shutdown(); err != nil {
			t.Errorf("shut down: %v", err)
		}
		e.readers.Wait()
	})
	return e
}

func (e *end) open(port uint16) {
	e.t.Helper()
	functions, port, err := e.Open(port)
	if err != nil {
		e.t.Fatalf("open: %v", err)
	}
	e.port = port
	for _, receive := range functions {
		e.readers.Go(func() { e.read(receive) })
	}
}

func (e *end) read(receive conn.ReceiveFunc) {
	packets, sizes, endpoints := buffers(e.BatchSize())
	for {
		n, err := receive(packets, sizes, endpoints)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				e.t.Errorf("a receive function may fail with net.ErrClosed alone, got %v", err)
			}
			return
		}
		for i := range n {
			e.inbox <- received{slices.Clone(packets[i][:sizes[i]]), endpoints[i]}
		}
	}
}

// buffers are what the engine passes to a receive function.
func buffers(n int) (packets [][]byte, sizes []int, endpoints []conn.Endpoint) {
	for range n {
		packets = append(packets, make([]byte, 1<<16-1))
	}
	return packets, make([]int, n), make([]conn.Endpoint, n)
}

// close closes the Bind and waits for its readers to end.
func (e *end) close() {
	e.t.Helper()
	if err := e.Close(); err != nil {
		e.t.Fatalf("close: %v", err)
	}
	e.readers.Wait()
}

// at is the endpoint of e at a local address.
func (e *end) at(address string) conn.Endpoint {
	e.t.Helper()
	ep, err := e.ParseEndpoint(net.JoinHostPort(address, fmt.Sprint(e.port)))
	if err != nil {
		e.t.Fatal(err)
	}
	return ep
}

// expect reads n messages.
func (e *end) expect(n int) []received {
	e.t.Helper()
	var got []received
	timeout := time.After(patience)
	for len(got) < n {
		select {
		case r := <-e.inbox:
			got = append(got, r)
		case <-timeout:
			e.t.Fatalf("received %d of %d messages; drops %v", len(got), n, nonZero(e.Stats().Drops))
		}
	}
	return got
}

func nonZero(drops map[tunnel.DropReason]uint64) map[tunnel.DropReason]uint64 {
	found := map[tunnel.DropReason]uint64{}
	for r, n := range drops {
		if n > 0 {
			found[r] = n
		}
	}
	return found
}

// waitFor waits until condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// message is a transport message of size bytes with content of its own.
func message(size, number int) []byte {
	m := make([]byte, size)
	m[0] = 4
	for i := 16; i < size; i++ {
		m[i] = byte(number + i)
	}
	binary.LittleEndian.PutUint32(m[8:], uint32(number))
	return m
}

// messages are transport messages of these sizes, numbered.
func messages(sizes ...int) [][]byte {
	var all [][]byte
	for i, size := range sizes {
		all = append(all, message(size, i))
	}
	return all
}

func contents(all []received) [][]byte {
	var m [][]byte
	for _, r := range all {
		m = append(m, r.message)
	}
	return m
}
