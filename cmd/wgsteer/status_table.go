package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
)

// statusTable writes a status for people.
type statusTable struct {
	colour bool
	now    time.Time
}

func (t statusTable) write(w io.Writer, s statusReply) error {
	var b strings.Builder
	t.head(&b, s)
	t.node(&b, s)
	t.peers(&b, s.Peers)
	t.drops(&b, s.Status)
	t.repairs(&b, s.Steering.Repairs)
	t.problems(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

// head is the line that answers the question, and the reasons for it.
func (t statusTable) head(b *strings.Builder, s statusReply) {
	sgr := red
	switch s.State {
	case dataplane.Ready:
		sgr = green
	case dataplane.Degraded:
		sgr = yellow
	}
	fmt.Fprintf(b, "%s is %s", paint(t.colour, bold, s.Node), paint(t.colour, sgr, string(s.State)))
	if !s.Since.IsZero() {
		fmt.Fprintf(b, " for %s", age(t.now.Sub(s.Since)))
	}
	b.WriteByte('\n')
	for _, r := range s.Reasons {
		fmt.Fprintf(b, "  %s\n", r)
	}
	b.WriteByte('\n')
}

func (t statusTable) node(b *strings.Builder, s statusReply) {
	tunnel := fmt.Sprintf("%s, UDP port %d, %s", s.Interface, s.ListenPort, s.Backend)
	if strings.HasPrefix(s.BackendReason, "auto: ") {
		tunnel += " (" + s.BackendReason + ")"
	}
	if len(s.Tunnel.Offloads) > 0 {
		tunnel += ", " + strings.Join(s.Tunnel.Offloads, " ")
	}
	rows := [][]string{
		{"tunnel", tunnel},
		{"mtu", orDash(s.MTUSource.Explain(s.MTU))},
		{"public key", orDash(keyText(s.PublicKey))},
		{"endpoint", orDash(addrPortText(s.Endpoint))},
		{"pods here", orDash(commas(s.PodCIDRs))},
		{"policy", t.policy(s.Status)},
		{"steered", orDash(steered(s.Steering))},
		{"records", orDash(t.source(s.Source))},
	}
	if c := s.Source.Cluster; c != nil {
		rows = append(rows, []string{"cluster", foundIn(*c)})
	}
	rows = append(rows, []string{"daemon", fmt.Sprintf("%s, process %d, %s", s.Version, s.PID, s.Configuration.File)})
	columns(b, rows, 2)
}

// source is where the records come from.
func (t statusTable) source(s sourceStatus) string {
	text := s.Where
	if s.Kind == sourceKubernetes {
		text = "Kubernetes at " + s.Where
	}
	if s.Failing != "" {
		text += fmt.Sprintf(", failing for %s: %s", age(t.now.Sub(s.Since)), s.Failing)
	}
	return text
}

// foundIn says what is known of a cluster, and by whom.
func foundIn(c foundCluster) string {
	text := fmt.Sprintf("%s, by %s", commas(c.CIDRs), c.From)
	if c.Unconfirmed != "" {
		text += "; found by an earlier start: " + c.Unconfirmed
	}
	return text
}

// calm is how long nothing must have passed in plaintext before strict is called
// safe: rare flows need longer, as the documentation says.
const calm = time.Hour

// policy says of the permissive one what strict would have done.
func (t statusTable) policy(s dataplane.Status) string {
	p := s.Steering.Plaintext
	if s.Policy != dataplane.Permissive || p.Since.IsZero() {
		return string(s.Policy)
	}
	quiet, safe := t.now.Sub(p.Since), "safe"
	if quiet < calm || s.State != dataplane.Ready { // what is not steered is not seen either
		safe = "too early"
	}
	return fmt.Sprintf("%s; %s to switch to strict: nothing would have been dropped since %s (%s)",
		s.Policy, safe, p.Since.UTC().Format(time.RFC3339), age(quiet))
}

func (t statusTable) peers(b *strings.Builder, peers []dataplane.Peer) {
	if len(peers) == 0 {
		fmt.Fprint(b, "  no peers: no other node has a record in the source yet\n\n")
		return
	}
	rows := [][]string{{"PEER", "ENDPOINT", "PODS", "BACKEND", "HANDSHAKE", "RECEIVED", "SENT"}}
	for _, p := range peers {
		handshake := "never"
		if !p.LastHandshake.IsZero() {
			handshake = age(t.now.Sub(p.LastHandshake)) + " ago"
		}
		rows = append(rows, []string{
			p.Name, orDash(addrPortText(p.Endpoint)), orDash(commas(p.PodCIDRs)), orDash(p.Backend),
			handshake, byteSize(p.RxBytes), byteSize(p.TxBytes),
		})
	}
	columns(b, rows, 5)
}

// drops are those that strict would have made of what passed, and those of the
// programs and of the tunnel.
func (t statusTable) drops(b *strings.Builder, s dataplane.Status) {
	rows := [][]string{{"WOULD BE DROPPED AT", "REASON", "PACKETS"}}
	for _, v := range s.Steering.Verdicts {
		if v.WouldDrop && s.Policy == dataplane.Permissive {
			rows = append(rows, []string{v.Hook, v.Reason, strconv.FormatUint(v.Packets, 10)})
		}
	}
	if len(rows) > 1 {
		columns(b, rows, 2)
	}
	rows = [][]string{{"DROPPED AT", "REASON", "PACKETS"}}
	for _, v := range s.Steering.Verdicts {
		if v.Verdict == "drop" {
			rows = append(rows, []string{v.Hook, v.Reason, strconv.FormatUint(v.Packets, 10)})
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Tunnel.Drops)) {
		if n := s.Tunnel.Drops[reason]; n > 0 {
			rows = append(rows, []string{"tunnel", string(reason), strconv.FormatUint(n, 10)})
		}
	}
	if len(rows) > 1 {
		columns(b, rows, 2)
	}
}

// repairs are what others have taken away, and the daemon has put back.
func (t statusTable) repairs(b *strings.Builder, repairs []steering.Repair) {
	if len(repairs) == 0 {
		return
	}
	rows := [][]string{{"PUT BACK", "LAST", "TIMES"}}
	for _, r := range repairs {
		rows = append(rows, []string{r.What, age(t.now.Sub(r.Last)) + " ago", strconv.FormatUint(r.Times, 10)})
	}
	columns(b, rows, 2)
}

func (t statusTable) problems(b *strings.Builder, s statusReply) {
	problems := s.Problems
	if s.Configuration.Error != "" {
		problems = append(slices.Clone(problems), keymgr.Problem{
			Record:  s.Configuration.File,
			Message: "the last reload was refused, the configuration of " + s.Configuration.Loaded.Format(time.RFC3339) + " runs: " + s.Configuration.Error,
		})
	}
	for _, p := range problems {
		level, sgr := "problem", red
		if p.Warning {
			level, sgr = "warning", yellow
		}
		what := cmp.Or(p.Record, p.Node)
		if p.Node != "" && p.Record != "" && p.Node != p.Record {
			what = p.Record + " (" + p.Node + ")"
		}
		fmt.Fprintf(b, "  %s  %s: %s\n", paint(t.colour, sgr, level), what, strings.ReplaceAll(p.Message, "\n", "\n           "))
	}
	for _, d := range s.Steering.Unsteerable {
		fmt.Fprintf(b, "  %s  %s carries pod packets past the programs: %s\n", paint(t.colour, yellow, "warning"), d.Name, d.Reason)
	}
}

func steered(s steering.Status) string {
	var parts []string
	for _, a := range s.Devices {
		if a.Error != "" {
			parts = append(parts, a.Name+" (failing: "+a.Error+")")
		} else {
			parts = append(parts, a.Name+" ("+a.Mechanism+")")
		}
	}
	return strings.Join(parts, ", ")
}
