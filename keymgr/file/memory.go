package file

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/wgsteer/wgsteer/keymgr"
)

// memory is what the source knows of the records, by node: it makes snapshots
// out of what was read, and does no IO itself.
type memory map[string]*known

// known is one node.
type known struct {
	sum      [sha256.Size]byte // of what findings are about; zero before the first
	findings []finding
	good     *keymgr.Node // the last good record; nil if there was none yet
}

// update takes what was just read, and returns the snapshot of it. A name that
// no file has any more is forgotten; a record that turned bad is kept as it
// last was.
func (m memory) update(records []content) keymgr.Snapshot {
	byName := make(map[string][]content)
	for _, c := range records {
		byName[c.name] = append(byName[c.name], c)
	}
	for name := range m {
		if _, there := byName[name]; !there {
			delete(m, name)
		}
	}
	var s keymgr.Snapshot
	for name, same := range byName {
		if err := keymgr.CheckName(name); err != nil {
			for _, c := range same {
				s.Problems = append(s.Problems, keymgr.Problem{Record: c.path, Message: fmt.Sprintf("the file's name is no node's: %v", err)})
			}
			continue
		}
		if m[name] == nil {
			m[name] = &known{}
		}
		s.Problems = append(s.Problems, m[name].take(name, same)...)
	}
	m.fill(&s)
	return s
}

// fill adds what is remembered of each node.
func (m memory) fill(s *keymgr.Snapshot) {
	for name, k := range m {
		if k.good == nil {
			s.Unusable = append(s.Unusable, name)
			continue
		}
		s.Nodes = append(s.Nodes, k.good.Clone())
	}
	slices.Sort(s.Unusable)
	slices.SortFunc(s.Nodes, func(a, b keymgr.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Problems, func(a, b keymgr.Problem) int { return cmp.Compare(a.Record, b.Record) })
}

// unreadable is the snapshot while the directory cannot be read.
func (m memory) unreadable(dir string, err error) keymgr.Snapshot {
	s := keymgr.Snapshot{Partial: true, Problems: []keymgr.Problem{{Record: dir, Message: err.Error()}}}
	m.fill(&s)
	return s
}

// take looks at all files that carry the node's name.
func (k *known) take(name string, same []content) []keymgr.Problem {
	if len(same) > 1 {
		return k.twice(name, same)
	}
	c := same[0]
	if c.err != nil {
		return k.problems(name, c.path, []finding{{text: fmt.Sprintf("the record cannot be read: %v", c.err)}})
	}
	if sum := sha256.Sum256(c.data); sum != k.sum {
		k.sum = sum
		var node keymgr.Node
		node, k.findings = parse(name, c.data)
		if usable(k.findings) {
			k.good = &node
		}
	}
	if usable(k.findings) {
		k.good.Record = c.path // a.yaml may have become a.yml
	}
	return k.problems(name, c.path, k.findings)
}

func usable(findings []finding) bool {
	return !slices.ContainsFunc(findings, func(f finding) bool { return !f.warning })
}

func (k *known) problems(name, path string, findings []finding) []keymgr.Problem {
	var problems []keymgr.Problem
	for _, f := range findings {
		p := keymgr.Problem{Node: name, Record: path, Message: f.message(), Warning: f.warning}
		if !f.warning {
			p.Message += k.consequence()
		}
		problems = append(problems, p)
	}
	return problems
}

func (k *known) consequence() string {
	if k.good != nil {
		return " (the record stays in use as it was before)"
	}
	return ""
}

// twice tells of each file that another one has the same name before its
// extension.
func (k *known) twice(name string, same []content) []keymgr.Problem {
	var problems []keymgr.Problem
	for i, c := range same {
		other := same[(i+1)%len(same)]
		problems = append(problems, keymgr.Problem{Node: name, Record: c.path,
			Message: fmt.Sprintf("node %s has another record, %s; remove one of them%s", name, other.path, k.consequence())})
	}
	return problems
}
