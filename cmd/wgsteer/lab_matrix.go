package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// labKind is a column of the matrix of flows, labPair a line.
type (
	labKind struct {
		protocol string
		family   int
	}
	labPair struct{ from, to string } // nodes
	labCell struct {
		labPair
		labKind
	}
)

// labCellFlows are the flows of one cell.
type labCellFlows struct {
	rtts       []float64 // of those that are ok, in ms
	ok, failed int
}

// String is the median round trip, or how many flows failed.
func (c *labCellFlows) String() string {
	switch {
	case c == nil:
		return "-"
	case c.failed > 0 && c.ok == 0:
		return "FAIL"
	case c.failed > 0:
		return fmt.Sprintf("%d/%d FAIL", c.failed, c.ok+c.failed)
	default:
		return fmt.Sprintf("%.2f", median(slices.Clone(c.rtts)))
	}
}

// labMatrix groups flows by the nodes they connect and by protocol and family.
// Kinds come in the order protocol as first seen, family; pairs in order of name.
func labMatrix(flows []labFlow) (kinds []labKind, pairs []labPair, cells map[labCell]*labCellFlows) {
	cells = map[labCell]*labCellFlows{}
	rank := map[string]int{}
	for _, f := range flows {
		if _, seen := rank[f.Protocol]; !seen {
			rank[f.Protocol] = len(rank)
		}
		p := labPair{nodeOf(f.From), nodeOf(f.To)}
		k := labKind{f.Protocol, f.Family}
		if !slices.Contains(pairs, p) {
			pairs = append(pairs, p)
		}
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
		at := labCell{p, k}
		if cells[at] == nil {
			cells[at] = &labCellFlows{}
		}
		if !f.OK {
			cells[at].failed++
			continue
		}
		cells[at].ok++
		cells[at].rtts = append(cells[at].rtts, f.RTTMs)
	}
	slices.SortFunc(kinds, func(a, b labKind) int {
		return cmp.Or(cmp.Compare(rank[a.protocol], rank[b.protocol]), cmp.Compare(a.family, b.family))
	})
	slices.SortFunc(pairs, func(a, b labPair) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return kinds, pairs, cells
}

// nodeOf is the node of "node/pod".
func nodeOf(pod string) string {
	node, _, _ := strings.Cut(pod, "/")
	return node
}
