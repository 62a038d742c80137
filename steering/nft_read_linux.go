package steering

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// nftFound is our table as it is in the kernel.
type nftFound struct {
	nftEncoded
	exists bool
	// damage says what of chains, sets and counters is not as we make them; "":
	// nothing, only rules and elements can differ.
	damage string
	// patterns are those of pods' devices that its rules name.
	patterns []string
}

func (f nftFound) whole() bool { return f.exists && f.damage == "" }

// read is the table as it is. An error says that it cannot be asked for; what of
// the table itself cannot be read is damage.
func (h nftHost) read() (nftFound, error) {
	conn, err := h.dial()
	if err != nil {
		return nftFound{}, err
	}
	defer conn.CloseLasting()
	_, err = conn.ListTableOfFamily(h.table.Name, h.table.Family)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nftFound{}, nil
	case err != nil:
		return nftFound{}, explainNftRead(err)
	}
	found := nftFound{exists: true, nftEncoded: nftEncoded{rules: map[string][]string{}, sets: map[string]map[nftElement]bool{}}}
	for _, read := range []func(*nftables.Conn, *nftFound) error{h.readChains, h.readSets, h.readCounters} {
		runtime.Gosched() // packets go first
		if err := read(conn, &found); err != nil {
			found.damage = err.Error()
			break
		}
	}
	return found, nil
}

func (h nftHost) readChains(conn *nftables.Conn, into *nftFound) error {
	for _, want := range nftChains(h.table) {
		have, err := conn.ListChain(h.table, want.Name)
		if err != nil {
			return fmt.Errorf("chain %s: %w", want.Name, err)
		}
		if have.Hooknum == nil || have.Priority == nil || have.Policy == nil ||
			*have.Hooknum != *want.Hooknum || *have.Priority != *want.Priority || *have.Policy != *want.Policy || have.Type != want.Type {
			return fmt.Errorf("chain %s is another", want.Name)
		}
		rules, err := conn.GetRules(h.table, want)
		if err != nil {
			return fmt.Errorf("rules of chain %s: %w", want.Name, err)
		}
		for _, r := range rules {
			text, err := encodeRule(r)
			if err != nil {
				return err
			}
			into.rules[want.Name] = append(into.rules[want.Name], text)
			if into.patterns == nil {
				into.patterns = patternsIn(r)
			}
		}
	}
	return nil
}

func (h nftHost) readSets(conn *nftables.Conn, into *nftFound) error {
	have, err := conn.GetSets(h.table)
	if err != nil {
		return fmt.Errorf("sets: %w", err)
	}
	want := nftSets(h.table)
	if len(have) != len(want) {
		return fmt.Errorf("there are %d sets instead of %d", len(have), len(want))
	}
	for _, w := range want {
		at := slices.IndexFunc(have, func(s *nftables.Set) bool { return s.Name == w.Name })
		if at < 0 {
			return fmt.Errorf("set %s is missing", w.Name)
		}
		if s := have[at]; s.KeyType != w.KeyType || s.Interval != w.Interval || s.IsMap || s.HasTimeout || s.Constant || s.Dynamic || s.Concatenation {
			return fmt.Errorf("set %s is another", w.Name)
		}
		elements, err := conn.GetSetElements(w)
		if err != nil {
			return fmt.Errorf("elements of set %s: %w", w.Name, err)
		}
		into.sets[w.Name] = ownElements(elements)
	}
	return nil
}

func (h nftHost) readCounters(conn *nftables.Conn, _ *nftFound) error {
	objects, err := conn.GetObjects(h.table)
	if err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	names, _ := nftCounters()
	for _, name := range names {
		if !slices.ContainsFunc(objects, func(o nftables.Obj) bool {
			c, ok := o.(*nftables.CounterObj)
			return ok && c.Name == name
		}) {
			return fmt.Errorf("counter %s is missing", name)
		}
	}
	return nil
}

// verdicts reads the counters above zero. One that cannot be read says nothing:
// neither could the table be set, and that was reported.
func (h nftHost) verdicts() []Verdict {
	conn, err := h.dial()
	if err != nil {
		return nil
	}
	defer conn.CloseLasting()
	listed, err := conn.GetObjects(h.table)
	if err != nil {
		return nil
	}
	names, verdicts := nftCounters()
	var found []Verdict
	for _, name := range names {
		for _, object := range listed {
			if c, ok := object.(*nftables.CounterObj); ok && c.Name == name && c.Packets > 0 {
				v := verdicts[name]
				v.Packets, v.Bytes = c.Packets, c.Bytes
				found = append(found, v)
			}
		}
	}
	return found
}

// explainNftRead says what is missing where the kernel does not tell of tables.
func explainNftRead(err error) error {
	if errors.Is(err, unix.EINVAL) { // nfnetlink knows no such subsystem
		return errNoNftables
	}
	return explainNft(err)
}
