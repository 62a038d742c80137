package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/wgsteer/wgsteer/wire"
)

func (r wireReport) table(w io.Writer, colour bool) error {
	var b strings.Builder
	var names []string
	for _, d := range r.Devices {
		names = append(names, d.Name)
	}
	fmt.Fprintf(&b, "%s, policy %s: %g s on %s\n\n", paint(colour, bold, r.Node), r.Policy, r.Seconds, orDash(strings.Join(names, ", ")))
	rows := [][]string{{"ON THE WIRE", "PACKETS", "BYTES"}}
	for _, c := range []struct {
		name string
		wire.Count
	}{{"WireGuard", r.WireGuard}, {"plaintext of pods", r.Plaintext}, {"malformed", r.Malformed}, {"other", r.Other}} {
		rows = append(rows, []string{c.name, strconv.FormatUint(c.Frames, 10), byteSize(c.Bytes)})
	}
	columns(&b, rows, 1)
	if len(r.Pairs) > 0 {
		rows := [][]string{{"PLAINTEXT", "DEVICE", "", "PACKETS", "BYTES"}}
		shown := uint64(0)
		for _, p := range r.Pairs {
			rows = append(rows, []string{p.Example, p.Device, p.Direction, strconv.FormatUint(p.Frames, 10), byteSize(p.Bytes)})
			shown += p.Frames
		}
		if more := r.Plaintext.Frames - shown; more > 0 {
			rows = append(rows, []string{"between others", "", "", strconv.FormatUint(more, 10), ""})
		}
		columns(&b, rows, 3)
	}
	if len(r.Peers) > 0 {
		rows := [][]string{{"PEER", "ENDPOINT", "SENT", "RECEIVED", "HANDSHAKES", "UNANSWERED"}}
		for _, p := range r.Peers {
			rows = append(rows, []string{p.Name, orDash(addrPortText(p.Endpoint)), strconv.FormatUint(p.Sent.Frames, 10), strconv.FormatUint(p.Received.Frames, 10),
				strconv.FormatUint(p.Handshakes+p.HandshakesByPeer, 10), strconv.FormatUint(p.Unanswered+p.UnansweredByThisNode, 10)})
		}
		columns(&b, rows, 2)
	}
	for _, t := range r.Warnings {
		fmt.Fprintf(&b, "%s  %s\n", paint(colour, yellow, "warn"), t)
	}
	for _, t := range r.Failures {
		fmt.Fprintf(&b, "%s  %s\n", paint(colour, red, "fail"), t)
	}
	if r.OK {
		fmt.Fprintf(&b, "%s    no plaintext of pods, and the capture saw its own probes\n", paint(colour, green, "ok"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
