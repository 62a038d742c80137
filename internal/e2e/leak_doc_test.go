package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateMatrix = flag.Bool("update-leak-matrix", false, "write docs/leak-matrix*.md")

// matrices are the files with the tables, and how they begin.
var matrices = map[mechanism]struct{ file, text string }{
	tcx:    {"../../docs/leak-matrix.md", matrixText},
	clsact: {"../../docs/leak-matrix-clsact.md", clsactText},
}

// writeMatrix writes the table, where that was asked for, and else sees that the one
// there is has the same rows.
func writeMatrix(t *testing.T, by mechanism, results map[string]result) {
	t.Helper()
	matrixFile := matrices[by].file
	var b strings.Builder
	b.WriteString(matrices[by].text)
	b.WriteString("| what happens | control | between pods | pod and node | WireGuard | what came back |\n|---|---|---|---|---|---|\n")
	for _, r := range rows(by) {
		done := results[r.name]
		gap := ""
		if r.gap {
			gap = " †"
		}
		fmt.Fprintf(&b, "| %s | %d | %d%s | %d%s | %d | %s |\n", r.name, done.control, done.pods, gap, done.podNode, gap, done.wireguard, done.back)
	}
	if *updateMatrix {
		if err := os.WriteFile(matrixFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows(by) {
		if !strings.Contains(string(text), "| "+r.name+" | ") {
			t.Errorf("%s lacks the row %q: make leak-matrix writes it", matrixFile, r.name)
		}
	}
}

const matrixText = `# Leak matrix

Written by ` + "`make leak-matrix`" + `, from a run of the test; do not edit.

Two nodes with a pod each, strict policy, ` + "`nodeCIDRs`" + ` that hold both nodes, a CNI of host routes over a bridge. Whatever happens on node-a, datagrams and a TCP stream go
on each way between the pods, and datagrams between each pod and the other node, over IPv4 and IPv6. A capture sees every port of
the underlay, from before it happens until traffic is back and 100 datagrams more were sent on each way; those also where it does not come back by itself, before
somebody mends it. The numbers are frames: in plaintext *between pods* of the two nodes, in plaintext between a *pod and* the other
*node*, and of *WireGuard*. The *control* is the same traffic, with the same change of the network, without wgsteer: its plaintext frames.

"Traffic" is back when each way has heard something that was sent afterwards. Times are those of one run on two busy cores; they
hold no promise.

Without ` + "`nodeCIDRs`" + ` the address of a node that has no record is the world's, and what pods send there passes: in the rows "first start", "peer's
record removed" and "peer that never had a key", between pod and node, and in no other.

Not in the table, because nothing of wgsteer is there: what pods send before the first start reached the state *guarding*. Put
` + "`wgsteer guard`" + ` up before pods are (the row "reboot").

Before Linux 6.6 wgsteer attaches by clsact alone: [leak-matrix-clsact.md](leak-matrix-clsact.md).

`

const clsactText = `# Leak matrix, by clsact

Written by ` + "`make leak-matrix`" + `, from a run of the test; do not edit.

[leak-matrix.md](leak-matrix.md) once more, with everything attached by clsact, as it is before Linux 6.6. A filter that somebody
removed leaves the others, as a tcx link does. What differs is †: the qdisc holds *all* filters of a device, and no backstop stands
behind it. Who deletes it lets packets between pods pass in plaintext by that device, until the daemon, which the kernel tells of it, has put
the filters back; where no daemon runs, until one starts. The nftables table keeps nothing in here: it comes before the filters, and has to let
go what they are to encrypt. From then on there is no plaintext again, which the test sees by a second capture.

`
