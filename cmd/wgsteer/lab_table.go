package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// labTable writes a report of a run for people.
type labTable struct {
	w      io.Writer
	colour bool
}

// maxFailedFlows is how many failed flows the table names one by one.
const maxFailedFlows = 8

// write renders r; its last line is "demo: ok" or "demo: failed: " and why.
func (t labTable) write(r labReport) error {
	var b strings.Builder
	if len(r.Nodes) > 0 {
		t.nodes(&b, r)
	}
	if len(r.Flows) > 0 {
		t.flows(&b, r)
		t.wire(&b, r.Wire)
	}
	if len(r.Steps) > 1 { // else it did not get past checking
		t.steps(&b, r)
	}
	if r.Logs != "" {
		fmt.Fprintf(&b, "%s are kept in %s\n\n", paint(t.colour, bold, "Logs"), r.Logs)
	}
	if r.Kept != nil {
		r.Kept.hints(&b, t.colour)
	}
	if r.OK {
		fmt.Fprintln(&b, paint(t.colour, green, "demo: ok"))
	} else {
		fmt.Fprintln(&b, paint(t.colour, red, "demo: failed: "+strings.Join(r.Failures, "; ")))
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t labTable) nodes(b *strings.Builder, r labReport) {
	fmt.Fprintf(b, "%s with %s each, CNI network %s\n\n", paint(t.colour, bold, count(len(r.Nodes), "node")), count(r.Pods, "pod"), r.CNI)
	rows := [][]string{{"NODE", "BACKEND", "INTERFACE", "PUBLIC KEY"}}
	for _, n := range r.Nodes {
		rows = append(rows, []string{n.Name, n.Backend, n.Interface, n.PublicKey.String()})
	}
	columns(b, rows, len(rows[0]))
}

// flows draws a matrix: a line for each pair of nodes, a column for each
// protocol and family, and in it the median round trip between their pods.
func (t labTable) flows(b *strings.Builder, r labReport) {
	kinds, pairs, cells := labMatrix(r.Flows)
	fmt.Fprintf(b, "%s between pods of different nodes; round trip in ms\n\n", paint(t.colour, bold, count(len(r.Flows), "flow")))
	head := []string{"FROM", "TO"}
	for _, k := range kinds {
		head = append(head, strings.ToUpper(k.protocol)+"/IPv"+strconv.Itoa(k.family))
	}
	rows := [][]string{head}
	for _, p := range pairs {
		row := []string{p.from, p.to}
		for _, k := range kinds {
			row = append(row, cells[labCell{p, k}].String())
		}
		rows = append(rows, row)
	}
	columns(b, rows, 2)

	var bytes uint64
	for _, f := range r.Flows {
		bytes += f.Bytes
	}
	failed := failedLabFlows(r.Flows)
	fmt.Fprintf(b, "  %d of %d ok, %s echoed unchanged\n\n", len(r.Flows)-len(failed), len(r.Flows), byteSize(bytes))
	if len(failed) == 0 {
		return
	}
	for _, f := range failed[:min(len(failed), maxFailedFlows)] {
		fmt.Fprintf(b, "  %s %s\n", paint(t.colour, red, "failed"), f.Error)
	}
	if more := len(failed) - maxFailedFlows; more > 0 {
		fmt.Fprintf(b, "  and %d more; -o json has them all\n", more)
	}
	fmt.Fprintln(b)
}

func (t labTable) wire(b *strings.Builder, w labWire) {
	fmt.Fprintf(b, "%s between the nodes, as captured during the same flows\n\n", paint(t.colour, bold, "The wire"))
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	columns(b, [][]string{
		{"PACKETS", "WITHOUT WGSTEER", "WITH WGSTEER"},
		{"pod packets in plaintext", n(w.ControlPlaintextPodPackets), n(w.PlaintextPodPackets)},
		{"WireGuard packets", n(w.ControlWireGuardPackets), n(w.WireGuardPackets)},
		{"lost by the capture", n(w.ControlLostPackets), n(w.LostPackets)},
	}, 1)
	if len(w.Plaintext) > 0 {
		for _, p := range w.Plaintext {
			fmt.Fprintf(b, "  %s %s\n", paint(t.colour, red, "plaintext"), p)
		}
		fmt.Fprintln(b)
	}
}

func (t labTable) steps(b *strings.Builder, r labReport) {
	names, times := make([]string, len(r.Steps)), make([]string, len(r.Steps))
	for i, s := range r.Steps {
		names[i], times[i] = strings.ToUpper(s.Name), fmt.Sprintf("%.1f", s.Seconds)
	}
	fmt.Fprintf(b, "%s %.1f s\n\n", paint(t.colour, bold, "Took"), r.took().Seconds())
	columns(b, [][]string{names, times}, 0)
}

// SGR parameters.
const (
	bold  = "1"
	red   = "31"
	green = "32"
)

// columns writes rows indented and aligned, the columns from right on to the
// right, and an empty line.
func columns(b *strings.Builder, rows [][]string, right int) {
	alignRight(rows, right)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, "  "+strings.Join(row, "\t"))
	}
	tw.Flush() // a strings.Builder does not fail
	b.WriteByte('\n')
}

func alignRight(rows [][]string, from int) {
	for c := from; c < len(rows[0]); c++ {
		width := 0
		for _, row := range rows {
			width = max(width, len(row[c]))
		}
		for _, row := range rows {
			row[c] = fmt.Sprintf("%*s", width, row[c])
		}
	}
}

// byteSize is n with a binary unit, such as "72.0 MiB".
func byteSize(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// median of values, which it sorts; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	m := len(values) / 2
	if len(values)%2 == 1 {
		return values[m]
	}
	return (values[m-1] + values[m]) / 2
}

// seconds rounds d to milliseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
