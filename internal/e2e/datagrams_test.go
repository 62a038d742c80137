package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// receipt is what a server of digest answers a datagram with: its size and hash.
func receipt(datagram []byte) []byte {
	sum := sha256.Sum256(datagram)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(datagram))), sum[:]...)
}

// digest has a server send receipts until the test ends.
func (c *cluster) digest(at string, family int) netip.AddrPort {
	c.t.Helper()
	e := c.find(at)
	ip, err := e.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	server, err := e.ListenPacket(c.t.Context(), "udp", netip.AddrPortFrom(ip, 0))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { server.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(receipt(buf[:n]), from) // the client sees what is missing
		}
	}()
	return netip.MustParseAddrPort(server.LocalAddr().String())
}

// sender sends datagrams of pseudo-random bytes to a server of digest.
type sender struct {
	conn     *net.UDPConn
	contents []byte
}

// sender makes one that discovers path MTUs as IP_MTU_DISCOVER has it, whose
// values are IPV6_MTU_DISCOVER's too.
func (c *cluster) sender(from string, to netip.AddrPort, discovery int) *sender {
	c.t.Helper()
	conn, err := c.find(from).Dial(c.t.Context(), "udp", to)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	s := &sender{conn: conn.(*net.UDPConn), contents: make([]byte, 1<<17)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(s.contents) // never fails
	if to.Addr().Is4() {
		setOption(c.t, s.conn, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discovery)
	} else {
		setOption(c.t, s.conn, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, discovery)
	}
	return s
}

// datagram of a size; others for each.
func (s *sender) datagram(size int) []byte { return s.contents[size : 2*size] }

// maxBurst bounds what is under way at once, in bytes, to what a socket's buffer
// holds at least.
const maxBurst = 64 << 10

// send sends a datagram of each size, several at once, and returns the sizes of
// those that are not receipted before nothing has come for patience.
func (s *sender) send(sizes []int, patience time.Duration) (lost []int, err error) {
	for len(sizes) > 0 {
		open, bytes := map[int]bool{}, 0
		for len(sizes) > 0 && len(open) < 64 && bytes+sizes[0] <= maxBurst {
			size := sizes[0]
			open[size], bytes, sizes = true, bytes+size, sizes[1:]
			if err := s.write(s.datagram(size)); err != nil {
				return nil, fmt.Errorf("send %d bytes: %w", size, err)
			}
		}
		if err := s.receive(open, patience); err != nil {
			return nil, err
		}
		lost = append(lost, slices.Sorted(maps.Keys(open))...)
	}
	return lost, nil
}

// write sends a datagram. The answers to others that were too long fail calls that
// come later; then nothing is sent.
func (s *sender) write(datagram []byte) (err error) {
	for range 64 { // as many as are under way
		if _, err = s.conn.Write(datagram); !errors.Is(err, unix.EMSGSIZE) {
			break
		}
	}
	return err
}

// receive takes what is receipted out of open.
func (s *sender) receive(open map[int]bool, patience time.Duration) error {
	buf := make([]byte, 64)
	for len(open) > 0 {
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := s.conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.EMSGSIZE):
			continue // the answer to one that is missing
		case err != nil:
			return fmt.Errorf("wait for receipts: %w", err)
		}
		size := int(binary.BigEndian.Uint32(buf))
		if size > len(s.contents)/2 || !bytes.Equal(buf[:n], receipt(s.datagram(size))) {
			return fmt.Errorf("%d bytes arrived, and are not what was sent", size)
		}
		delete(open, size) // or it is late, and of a burst before
	}
	return nil
}
