package keymgr

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// remembered is what is kept of a Snapshot: problems are of their time.
type remembered struct {
	Nodes    []Node   `json:"nodes"`
	Unusable []string `json:"unusable,omitempty"`
	Local    *Local   `json:"local,omitempty"`
}

const snapshotKind = "snapshot"

// LoadSnapshot returns what SaveSnapshot last wrote under that name, without
// problems, or the zero value where there is nothing. A damaged file counts as
// nothing, and is moved to setAside, which is "" otherwise.
func (s *Store) LoadSnapshot(name string) (snapshot Snapshot, setAside string, err error) {
	file := name + ".json"
	return loadOrSetAside(s, file, func(d stateDir) (Snapshot, error) { return d.loadSnapshot(file) })
}

// PeekSnapshot is LoadSnapshot for a look: a damaged file is an error, and left for
// LoadSnapshot to set aside.
func (s *Store) PeekSnapshot(name string) (Snapshot, error) {
	return peek(s, func(d stateDir) (Snapshot, error) { return d.loadSnapshot(name + ".json") })
}

func (d stateDir) loadSnapshot(file string) (Snapshot, error) {
	r, err := readSealed[remembered](d, file, snapshotKind)
	return Snapshot{Nodes: r.Nodes, Unusable: r.Unusable, Local: r.Local}, err
}

// SaveSnapshot remembers a snapshot for a start without its source, as NAME.json,
// mode 0600; the same again is not written. It is JSON, followed by a comment with
// its SHA-256.
func (s *Store) SaveSnapshot(name string, snapshot Snapshot) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", " ")
	if err := e.Encode(remembered{snapshot.Nodes, snapshot.Unusable, snapshot.Local}); err != nil {
		return fmt.Errorf("remember the nodes' records: %w", err)
	}
	return s.replace(name+".json", seal(snapshotKind, text.Bytes()))
}
