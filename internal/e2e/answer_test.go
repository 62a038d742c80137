package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// answer has a server run until the test ends, by TCP and UDP on one port: it
// says whom it takes the client for, then returns what it was sent.
func (c *cluster) answer(at netlab.Endpoint, family int) netip.AddrPort {
	c.t.Helper()
	const serverPort = 8080
	ip, err := at.IP(family)
	if err != nil {
		c.t.Fatal(err)
	}
	addr := netip.AddrPortFrom(ip, serverPort)
	streams, err := at.Listen(c.t.Context(), fmt.Sprint("tcp", family), addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { streams.Close() })
	datagrams, err := at.ListenPacket(c.t.Context(), fmt.Sprint("udp", family), addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { datagrams.Close() })
	go func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintln(conn, clientOf(conn.RemoteAddr()))
				_, _ = io.Copy(conn, conn) // the client sees what is missing
			}()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := datagrams.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = datagrams.WriteTo(append(fmt.Appendln(nil, clientOf(from)), buf[:n]...), from)
		}
	}()
	return addr
}

// clientOf is the address of a peer, without its port.
func clientOf(a net.Addr) netip.Addr {
	at, _ := netip.ParseAddrPort(a.String()) // package net wrote it
	return at.Addr().Unmap()
}

// ask sends random bytes to a server of answer, has them back, and returns whom
// it takes the client for. A datagram may be lost: it is tried three times.
func ask(ctx context.Context, client netlab.Endpoint, network string, server netip.AddrPort) (who netip.Addr, err error) {
	if !strings.HasPrefix(network, "udp") {
		return askOnce(ctx, client, network, server, time.Minute)
	}
	for range 3 {
		who, err = askOnce(ctx, client, network, server, 20*time.Second)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return who, err
}

func askOnce(ctx context.Context, client netlab.Endpoint, network string, server netip.AddrPort, patience time.Duration) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := client.Dial(ctx, network, server)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return netip.Addr{}, err
	}
	length := 1 << 20
	if strings.HasPrefix(network, "udp") {
		length = 1000
	}
	sent := make([]byte, length)
	_, _ = rand.Read(sent) // never fails
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- err
	}()
	buf := make([]byte, length+64)
	var got []byte
	who := -1
	for who < 0 || len(got) < who+1+length {
		n, rerr := conn.Read(buf)
		got = append(got, buf[:n]...)
		who = bytes.IndexByte(got, '\n')
		if rerr != nil {
			err = rerr
			break
		}
	}
	conn.Close() // a write that hangs ends, too
	if err := errors.Join(err, <-wrote); err != nil {
		return netip.Addr{}, err
	}
	if !bytes.Equal(got[who+1:], sent) {
		return netip.Addr{}, errors.New("what came back is not what was sent")
	}
	return netip.ParseAddr(string(got[:who]))
}
