package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/steering"
)

// explainTable writes an explanation for people: the answer first.
func explainTable(w io.Writer, e steering.Explanation, colour bool) error {
	var b strings.Builder
	sgr := map[string]string{"encrypt": green, "drop": yellow, "pass": bold}[e.Verdict]
	if e.Plaintext {
		sgr = red
	}
	fmt.Fprintf(&b, "%s > %s: %s, %s\n  %s\n", e.Source.Address, e.Destination.Address, paint(colour, sgr, e.Verdict), e.Reason, e.Why)
	if e.Plaintext {
		fmt.Fprintf(&b, "  %s: pods' traffic that others on the wire can read\n", paint(colour, red, "in plaintext"))
	}
	b.WriteByte('\n')
	policy := "permissive"
	if e.Strict {
		policy = "strict"
	}
	rows := [][]string{
		{"from", endText(e.Source)},
		{"to", endText(e.Destination)},
		{"direction", e.Direction},
		{"policy", policy},
		{"route", routeText(e.Route)},
		{"device", orDash(e.Device)},
		{"peer", orDash(e.Peer)},
	}
	if e.MTU != 0 {
		rows[5][1] = fmt.Sprintf("%s, MTU %d", e.Device, e.MTU)
	}
	if e.Longer != "" {
		rows = slices.Insert(rows, 6, []string{"longer", e.Longer})
	}
	columns(&b, rows, 2)
	if len(e.Steps) > 0 {
		rows := [][]string{{"PROGRAM AT", "OF", "VERDICT", "REASON"}}
		for _, s := range e.Steps {
			rows = append(rows, []string{s.Hook, s.Device, s.Verdict, s.Reason})
		}
		columns(&b, rows, 4)
	}
	if len(e.Layers) > 0 {
		rows := [][]string{{"KEPT FROM PLAINTEXT BY", "", ""}}
		for _, l := range e.Layers {
			there := "no"
			if l.There {
				there = "yes"
			}
			rows = append(rows, []string{l.Name, there, l.Detail})
		}
		columns(&b, rows, 3)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// endText is "10.244.2.7, remote_pod of node-b (10.244.2.0/24): in a pod CIDR of a peer".
func endText(e steering.End) string {
	text := e.Address.String() + ", " + e.Class
	if e.Peer != "" {
		text += " of " + e.Peer
	}
	if e.Prefix.IsValid() && !e.Prefix.IsSingleIP() {
		text += " (" + e.Prefix.String() + ")"
	}
	return text + ": " + e.Meaning
}

// routeText is the route about as ip-route(8) writes it.
func routeText(r steering.Route) string {
	parts := []string{r.Type}
	switch {
	case r.Type == "unicast" && r.Gateway.IsValid():
		parts = []string{"via", r.Gateway.String(), "dev", r.Device}
	case r.Type == "unicast":
		parts = []string{"dev", r.Device}
	}
	switch {
	case !r.Match.IsValid():
	case r.Match.Bits() == 0:
		parts = append([]string{"default"}, parts...)
	default:
		parts = append([]string{r.Match.String()}, parts...)
	}
	if r.Ours {
		parts = append(parts, "(ours)")
	}
	return strings.Join(parts, " ")
}
