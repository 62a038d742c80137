package netlab

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/wgsteer/wgsteer/wire"
)

// Count is frames and bytes, as package wire counts them.
type Count = wire.Count

// Wire is what a capture saw on the underlay. Each frame between two nodes is
// counted once, where it enters the underlay from a node.
type Wire struct {
	WireGuard        Count `json:"wireguard"`
	PlaintextPod     Count `json:"plaintextPod"`
	PlaintextPodNode Count `json:"plaintextPodNode"`
	Malformed        Count `json:"malformed"`
	Other            Count `json:"other"`
	// Lost frames were dropped by the kernel because the capture did not keep
	// up. A capture that lost any proves nothing.
	Lost uint64 `json:"lost"`
	// Plaintext describes the first few frames of the plaintext classes.
	Plaintext []string `json:"plaintext,omitempty"`
}

// maxDescribed bounds Wire.Plaintext.
const maxDescribed = 5

func (w *Wire) add(p wire.Packet, bytes int) {
	count := map[wire.Class]*Count{wire.WireGuard: &w.WireGuard, wire.PlaintextPod: &w.PlaintextPod,
		wire.PlaintextPodNode: &w.PlaintextPodNode, wire.Malformed: &w.Malformed, wire.Other: &w.Other}[p.Class]
	count.Frames++
	count.Bytes += uint64(bytes)
	if (p.Class == wire.PlaintextPod || p.Class == wire.PlaintextPodNode) && len(w.Plaintext) < maxDescribed {
		w.Plaintext = append(w.Plaintext, p.Text)
	}
}

// Capture watches every port of the underlay.
type Capture struct {
	socket *wire.Capture
	stop   context.CancelFunc
	wire   Wire  // the reader's until done is closed
	err    error // likewise
	done   chan struct{}
}

// Capture starts to watch the underlay; it is in place when Capture returns.
// The ports are those that the tunnels listen on. The caller calls Stop.
func (l *Lab) Capture(ports ...uint16) (*Capture, error) {
	c := &Capture{done: make(chan struct{})}
	gateway := map[int]bool{} // interface indexes of the gateway's own devices
	err := l.underlay.Do(func() (err error) {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("list the devices of the underlay: %w", err)
		}
		for _, link := range links {
			if link.Type() != "veth" {
				gateway[link.Attrs().Index] = true
			}
		}
		// A bridged frame is received once and sent once.
		c.socket, err = wire.Open(wire.Options{ReceivedOnly: true})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capture on the underlay of lab %s: %w", l.Run, err)
	}
	classifier := wire.NewClassifier(l.cluster(ports))
	ctx, cancel := context.WithCancel(context.Background()) // until Stop
	c.stop = cancel
	go func() {
		defer close(c.done)
		c.wire.Lost, c.err = c.socket.Run(ctx, func(f wire.Frame) {
			// What is for the gateway, the bridge device itself receives too. All
			// else comes in by a port, be it of an uplink that was plugged in since.
			if !gateway[f.Device] {
				c.wire.add(classifier.Classify(f), f.Length)
			}
		})
	}()
	return c, nil
}

// Stop ends the capture and returns what it saw: every frame that entered the
// underlay before the call. It is called once.
func (c *Capture) Stop() (Wire, error) {
	c.stop()
	<-c.done
	if c.err != nil {
		return c.wire, fmt.Errorf("capture on the underlay: %w", c.err)
	}
	return c.wire, nil
}
