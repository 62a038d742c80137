package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// TestSizes: over each network, a long TCP stream arrives whole, and so does a
// datagram of every size up to the underlay's MTU, which is more than the tunnel
// takes in one piece: the last ones come in fragments.
func TestSizes(t *testing.T) {
	const underlay, udpHeader = 1500, 8
	ipHeader := map[int]int{4: 20, 6: 40}
	for _, cni := range netlab.CNIs() {
		t.Run(string(cni), func(t *testing.T) {
			needs(t, cni)
			c := upWith(t, plain, netlab.Options{CNI: cni, MTU: underlay})
			w := c.encrypted(func() {
				for _, family := range c.Families {
					stream(t, c, family, 64<<20)
					c.everySize(family, underlay-ipHeader[family]-udpHeader)
				}
			})
			if w.WireGuard.Bytes < uint64(len(c.Families))*64<<20 {
				t.Errorf("less than was sent went through the tunnel: %+v", w)
			}
		})
	}
}

// everySize exchanges datagrams of 1 to largest bytes between two pods.
func (c *cluster) everySize(family, largest int) {
	c.t.Helper()
	server := c.answer(c.find("node-b/pod-1"), family)
	conn, err := c.node("node-a").Pods[0].Dial(c.t.Context(), fmt.Sprint("udp", family), server)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	for size := 1; size <= largest; size++ {
		if err := exchange(conn, bytes.Repeat([]byte{byte(size)}, size)); err != nil {
			c.t.Fatalf("IPv%d, %d bytes: %v", family, size, err)
		}
	}
}

// exchange sends a datagram to a server of answer until it has it back; a busy
// machine may lose one.
func exchange(conn net.Conn, sent []byte) error {
	buf := make([]byte, 4096)
	for range 5 {
		if _, err := conn.Write(sent); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			// What is late of an earlier one has another length.
			if _, payload, _ := bytes.Cut(buf[:n], []byte("\n")); bytes.Equal(payload, sent) {
				return nil
			}
		}
	}
	return errors.New("did not come back, sent 5 times")
}
