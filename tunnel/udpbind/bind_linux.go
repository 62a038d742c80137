package udpbind

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// BatchSize is how many datagrams a receive function delivers at most, and how
// many Send gives to the kernel at once; it takes more.
const BatchSize = 128

// Options of a Bind; the zero value is good.
type Options struct {
	// ReceiveBuffer and SendBuffer of each socket in bytes, as setsockopt takes
	// them; without CAP_NET_ADMIN the kernel caps them at net.core.rmem_max and
	// wmem_max. Zero is 7 MiB, as wireguard-go has it.
	ReceiveBuffer, SendBuffer int
	// NoGSO and NoGRO turn the offloads off also where the kernel has them.
	NoGSO, NoGRO bool
	// Now is the clock of Stats; nil is time.Now.
	Now func() time.Time
}

// Bind is a conn.Bind whose sockets survive Close. Its methods may be called
// concurrently.
type Bind struct {
	options                 Options
	received, offered, sent counters
	drops                   drops
	sendings                sync.Pool   // of *sending
	closing                 atomic.Bool // tells senders that wait to let go of mu

	mu     sync.RWMutex // held for reading while sending
	open   bool
	port   uint16
	asked  uint16  // of the last Open
	mark   uint32  // of the sockets
	v4, v6 *socket // nil before the first Open, after Shutdown, or without that family
}

var _ conn.Bind = (*Bind)(nil)

// New returns a Bind without sockets.
func New(options Options) *Bind {
	const defaultBuffer = 7 << 20
	if options.ReceiveBuffer == 0 {
		options.ReceiveBuffer = defaultBuffer
	}
	if options.SendBuffer == 0 {
		options.SendBuffer = defaultBuffer
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Bind{
		options:  options,
		drops:    newDrops(),
		sendings: sync.Pool{New: func() any { return new(sending) }},
	}
}

// sockets are those there are, IPv4 first. b.mu is held.
func (b *Bind) sockets() []*socket {
	return slices.DeleteFunc([]*socket{b.v4, b.v6}, func(s *socket) bool { return s == nil })
}

// Close stops receiving and sending. It returns when no receive function runs;
// each returns net.ErrClosed from now on. The sockets stay open: what the
// kernel holds for them, and what arrives meanwhile, is delivered after the
// next Open. It may be called twice.
func (b *Bind) Close() error {
	b.closing.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.close()
}

func (b *Bind) close() (err error) {
	if !b.open {
		return nil
	}
	b.open = false
	for _, s := range b.sockets() {
		err = errors.Join(err, s.pause(b.options.Now()))
	}
	return err
}

// Shutdown closes the Bind and then its sockets; datagrams that they still
// hold are lost, and counted. It may be called twice. Counters survive it, and
// Open would open new sockets.
func (b *Bind) Shutdown() error {
	b.closing.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.close()
	for _, s := range b.sockets() {
		err = errors.Join(err, s.close())
	}
	b.v4, b.v6, b.port, b.mark = nil, nil, 0, 0
	return err
}

// SetMark sets the firewall mark (SO_MARK) of datagrams sent until the next
// Open. It needs CAP_NET_ADMIN.
func (b *Bind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.setMark(mark)
}

func (b *Bind) setMark(mark uint32) error {
	for _, s := range b.sockets() {
		if err := s.setMark(mark); err != nil {
			return err
		}
	}
	b.mark = mark
	return nil
}

// Send gives the datagrams to the kernel, to be sent to an endpoint of this
// package. It returns an error only when the Bind is closed or the endpoint
// another package's; any other failure is a counted drop. It may wait up to
// half a second for room in the send buffer.
func (b *Bind) Send(datagrams [][]byte, endpoint conn.Endpoint) error {
	b.offered.add(tallyOf(datagrams))
	to, ok := endpoint.(*Endpoint)
	if !ok {
		b.drops.add(DropSendFamily, len(datagrams))
		return conn.ErrWrongEndpointType
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.open {
		b.drops.add(DropSendClosed, len(datagrams))
		return fmt.Errorf("send to %s: %w", to.DstToString(), net.ErrClosed)
	}
	s := b.v6
	if to.destination.Addr().Is4() {
		s = b.v4
	}
	if s == nil {
		b.drops.add(DropSendFamily, len(datagrams))
		return nil
	}
	o := b.sendings.Get().(*sending)
	defer b.sendings.Put(o)
	for batch := range slices.Chunk(datagrams, BatchSize) {
		o.bind, o.socket, o.to, o.waits = b, s, to, 0
		o.send(batch, true)
	}
	return nil
}

// ParseEndpoint reads ADDRESS:PORT or [ADDRESS]:PORT.
func (b *Bind) ParseEndpoint(text string) (conn.Endpoint, error) {
	e, err := parseEndpoint(text)
	if err != nil {
		return nil, err // not a nil *Endpoint in an interface
	}
	return e, nil
}

// BatchSize is the constant of that name.
func (b *Bind) BatchSize() int { return BatchSize }

// Asked is the port that the last Open was asked for, whether it could be
// opened or not.
func (b *Bind) Asked() uint16 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.asked
}

// Files duplicates the descriptors of the sockets, IPv4 first, to be handed to
// another process; the caller closes them. The copies share queues and flags
// with the Bind's own, so they have to stay non-blocking. While the Bind is
// closed nothing takes from the queues.
func (b *Bind) Files() (files []*os.File, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.sockets() {
		f, err := s.duplicate()
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Stats reads the counters and the state of the readers.
func (b *Bind) Stats() Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	s := Stats{
		Port:     b.port,
		Sent:     b.sent.snapshot(), // before Offered, so that it is never more
		Offered:  b.offered.snapshot(),
		Received: b.received.snapshot(),
	}
	var gro, gso bool
	for _, k := range b.sockets() {
		k.countKernelDrops()
		gro, gso = gro || k.gro, gso || k.gso.Load()
		s.Readers = append(s.Readers, k.live.snapshot(k.network))
	}
	if gro {
		s.Offloads = append(s.Offloads, "udp-gro")
	}
	if gso {
		s.Offloads = append(s.Offloads, "udp-gso")
	}
	s.Drops = b.drops.snapshot()
	return s
}
