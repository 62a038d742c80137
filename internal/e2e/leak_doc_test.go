package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateMatrix = flag.Bool("update-leak-matrix", false, "write docs/leak-matrix.md")

const matrixFile = "../../docs/leak-matrix.md"

// writeMatrix writes the table, where that was asked for, and else sees that the one
// there is has the same rows.
func writeMatrix(t *testing.T, p pace, results map[string]result) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Leak matrix\n\n")
	b.WriteString("Written by `make leak-matrix`, from a run of the test; do not edit.\n\n")
	b.WriteString(matrixText)
	b.WriteString("| what happens | control | between pods | pod and node | WireGuard | what came back |\n|---|---|---|---|---|---|\n")
	for _, r := range rows() {
		done := results[r.name]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", r.name, done.control, done.pods, done.podNode, done.wireguard, done.back)
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
	for _, r := range rows() {
		if !strings.Contains(string(text), "| "+r.name+" | ") {
			t.Errorf("%s lacks the row %q: make leak-matrix writes it", matrixFile, r.name)
		}
	}
}

const matrixText = `Two nodes with a pod each, strict policy, ` + "`nodeCIDRs`" + ` that hold both nodes, a CNI of host routes over a bridge. Whatever happens on node-a, datagrams and a TCP stream go
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

`
