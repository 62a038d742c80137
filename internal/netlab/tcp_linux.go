package netlab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// carryTCP sends bytes to an echo server and compares what comes back.
func carryTCP(ctx context.Context, e ends, bytes int64, r *Result) error {
	listener, err := e.to.Listen(ctx, e.network("tcp"), netip.AddrPortFrom(e.toIP, 0))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	at := listener.Addr().(*net.TCPAddr).AddrPort()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	echoed := make(chan error, 1)
	go func() { echoed <- echoTCP(ctx, listener) }()
	if err := talkTCP(ctx, e, at, bytes, r); err != nil {
		cancel(err) // the server's error would only be its consequence
		<-echoed
		return err
	}
	return <-echoed
}

func talkTCP(ctx context.Context, e ends, to netip.AddrPort, bytes int64, r *Result) error {
	start := time.Now()
	conn, err := e.from.Dial(ctx, e.network("tcp"), to)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	r.RTT = milliseconds(time.Since(start))
	return converse(ctx, conn.(*net.TCPConn), bytes, r)
}

// echoTCP serves one connection.
func echoTCP(ctx context.Context, l net.Listener) error {
	defer untilDone(ctx, l.(*net.TCPListener).SetDeadline)()
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer conn.Close()
	defer untilDone(ctx, conn.SetDeadline)()
	if _, err := io.Copy(conn, conn); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	return conn.(*net.TCPConn).CloseWrite()
}

// converse writes pseudo-random bytes and reads as many, at the same time.
func converse(ctx context.Context, conn *net.TCPConn, bytes int64, r *Result) error {
	defer untilDone(ctx, conn.SetDeadline)()
	sent, received := fnv.New64a(), fnv.New64a()
	var group errgroup.Group
	group.Go(func() error {
		if err := send(conn, bytes, sent, r.Flow); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return conn.CloseWrite()
	})
	group.Go(func() error {
		n, err := io.Copy(received, conn)
		if err == nil && n != bytes {
			err = fmt.Errorf("%d bytes came back of %d", n, bytes)
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if sent.Sum64() != received.Sum64() {
		return errors.New("what came back is not what was sent")
	}
	r.Bytes = bytes
	return nil
}

func send(to io.Writer, bytes int64, sum hash.Hash, f Flow) error {
	_, err := io.CopyN(io.MultiWriter(to, sum), contents(f), bytes)
	return err
}

// contents are pseudo-random bytes, others for each flow.
func contents(f Flow) *rand.ChaCha8 { return rand.NewChaCha8(sha256.Sum256([]byte(f.String()))) }
