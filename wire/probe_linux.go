package wire

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// probeProtocol is the first of the EtherTypes that IEEE 802 leaves to local
// experiments.
const probeProtocol = 0x88b5

// etherHeader is the length of an Ethernet header in bytes.
const etherHeader = 14

// Probe is a frame that a capture has to see, if it sees anything. It is
// addressed to the very device that sends it, so that no switch passes it on,
// and no program of package bpf steers it.
type Probe [48]byte

// NewProbe makes one that is like no other.
func NewProbe() Probe {
	var p Probe
	_, _ = rand.Read(p[copy(p[:], "wgsteer check --wire"):]) // never fails
	return p
}

// Send has a device send the probe.
func (p Probe) Send(device net.Interface) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return explainSocket(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: swapped(probeProtocol), Ifindex: device.Index}
	to.Halen = uint8(copy(to.Addr[:], device.HardwareAddr))
	if err := unix.Sendto(fd, p[:], 0, to); err != nil {
		return fmt.Errorf("send a probe over %s: %w", device.Name, err)
	}
	return nil
}

// Is tells whether a frame is the probe on its way out.
func (p Probe) Is(f Frame) bool {
	data := f.Head
	if f.Ethernet && len(data) >= etherHeader {
		data = data[etherHeader:]
	}
	return f.Outgoing && f.Protocol == probeProtocol && bytes.HasPrefix(data, p[:])
}
