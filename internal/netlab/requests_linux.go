package netlab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"
)

// requestLength is the payload of a UDP or ICMP request in bytes.
const requestLength = 512

// asker is one end that sends requests and knows their answers.
type asker struct {
	conn net.PacketConn
	to   net.Addr
	// wrap makes the datagram of the n-th request; unwrap returns the payload of
	// an answer to it, nil of what is none.
	wrap   func(n uint16, payload []byte) ([]byte, error)
	unwrap func(n uint16, from net.Addr, datagram []byte) []byte
}

// ask sends requests, one after another, each again until it is answered.
func (a asker) ask(ctx context.Context, o FlowOptions, r *Result) error {
	source := contents(r.Flow)
	rtts := make([]time.Duration, 0, o.Requests)
	defer func() { r.RTT = median(rtts) }()
	payload := make([]byte, requestLength)
	for n := range o.Requests {
		_, _ = source.Read(payload) // never fails
		request, err := a.wrap(uint16(n), payload)
		if err != nil {
			return fmt.Errorf("make request %d: %w", n, err)
		}
		for tries := 0; ; tries++ {
			if ctx.Err() != nil {
				return fmt.Errorf("no answer to request %d, sent %d times", n, tries)
			}
			start := time.Now()
			if _, err := a.conn.WriteTo(request, a.to); err != nil {
				return fmt.Errorf("send request %d: %w", n, err)
			}
			answered, err := a.hear(ctx, uint16(n), payload, start.Add(o.Resend))
			if err != nil {
				return err
			}
			if answered {
				rtts = append(rtts, time.Since(start))
				break
			}
			r.Resent++
		}
		r.Bytes += int64(len(payload))
	}
	return nil
}

// hear waits for the answer to request n until a time, or the end of ctx.
func (a asker) hear(ctx context.Context, n uint16, want []byte, until time.Time) (bool, error) {
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	if err := a.conn.SetReadDeadline(until); err != nil {
		return false, err
	}
	defer untilDone(ctx, a.conn.SetReadDeadline)()
	buf := make([]byte, 64<<10)
	for {
		length, from, err := a.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("receive the answer to request %d: %w", n, err)
		}
		got := a.unwrap(n, from, buf[:length])
		if got == nil {
			continue
		}
		if !bytes.Equal(got, want) {
			return false, fmt.Errorf("the answer to request %d is not what was sent", n)
		}
		return true, nil
	}
}

// carryUDP asks a server that echoes.
func carryUDP(ctx context.Context, e ends, o FlowOptions, r *Result) error {
	server, err := e.to.ListenPacket(ctx, e.network("udp"), netip.AddrPortFrom(e.toIP, 0))
	if err != nil {
		return fmt.Errorf("open the server's socket: %w", err)
	}
	client, err := e.from.ListenPacket(ctx, e.network("udp"), netip.AddrPortFrom(e.fromIP, 0))
	if err != nil {
		return errors.Join(fmt.Errorf("open the client's socket: %w", err), server.Close())
	}
	defer client.Close()

	var group errgroup.Group
	group.Go(func() error { return echoUDP(server) })
	a := asker{conn: client, to: server.LocalAddr(), wrap: numbered, unwrap: unnumbered}
	err = a.ask(ctx, o, r)
	server.Close()
	return errors.Join(err, group.Wait())
}

// echoUDP serves until its socket is closed.
func echoUDP(c net.PacketConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err == nil {
			_, err = c.WriteTo(buf[:n], from)
		}
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("echo: %w", err)
		}
	}
}

func numbered(n uint16, payload []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint16(nil, n), payload...), nil
}

func unnumbered(n uint16, _ net.Addr, datagram []byte) []byte {
	if len(datagram) < 2 || binary.BigEndian.Uint16(datagram) != n {
		return nil
	}
	return datagram[2:]
}

// carryICMP asks the other end's kernel.
func carryICMP(ctx context.Context, e ends, o FlowOptions, r *Result) error {
	request, answer, number := icmp.Type(ipv4.ICMPTypeEcho), icmp.Type(ipv4.ICMPTypeEchoReply), 1
	network := "ip4:icmp"
	if e.family == 6 {
		request, answer, number = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
		network = "ip6:ipv6-icmp"
	}
	var conn net.PacketConn
	if err := e.from.Do(func() (err error) {
		conn, err = net.ListenPacket(network, e.fromIP.String())
		return err
	}); err != nil {
		return fmt.Errorf("open a raw socket: %w", err)
	}
	defer conn.Close()

	// A raw socket hears the answers to all flows of its namespace; 16 bits of id
	// are too few to tell them apart.
	id, nonce := int(uint16(rand.Uint32())), binary.BigEndian.AppendUint64(nil, rand.Uint64())
	a := asker{conn: conn, to: &net.IPAddr{IP: e.toIP.AsSlice()}}
	a.wrap = func(n uint16, payload []byte) ([]byte, error) {
		// The kernel fills in the checksum of ICMPv6.
		m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: int(n), Data: slices.Concat(nonce, payload)}}
		return m.Marshal(nil)
	}
	a.unwrap = func(n uint16, from net.Addr, datagram []byte) []byte {
		m, err := icmp.ParseMessage(number, datagram)
		if err != nil || m.Type != answer || from.String() != e.toIP.String() {
			return nil
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok || echo.ID != id || echo.Seq != int(n) {
			return nil
		}
		data, ours := bytes.CutPrefix(echo.Data, nonce)
		if !ours {
			return nil
		}
		return data
	}
	return a.ask(ctx, o, r)
}
