package keymgr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
)

const (
	claimsFile = "claims.yaml"
	claimsKind = "claims"
)

// LoadClaims returns what SaveClaims last wrote, or no history where there is
// none. A damaged file counts as no history: it is moved to setAside, which is
// "" otherwise, for the caller to report.
//
// claims.yaml is JSON, one node a line, followed by a comment with its SHA-256.
func (s *Store) LoadClaims() (claims Claims, setAside string, err error) {
	return loadOrSetAside(s, claimsFile, stateDir.loadClaims)
}

// loadOrSetAside reads a file of the state directory, and moves one that is damaged
// to setAside. Where there is no directory, or the file was damaged, the value is
// the zero one.
func loadOrSetAside[T any](s *Store, name string, load func(stateDir) (T, error)) (value T, setAside string, err error) {
	var none T
	d, err := openStateDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return none, "", nil
	}
	if err != nil {
		return none, "", err
	}
	defer d.close()
	value, err = load(d)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		return value, "", err
	}
	unlock, err := d.lock()
	if err != nil {
		return none, "", fmt.Errorf("%w; setting it aside failed: %w", corrupt, err)
	}
	defer unlock()
	if value, err = load(d); !errors.As(err, &corrupt) { // mended by another process meanwhile
		return value, "", err
	}
	setAside, err = d.setAside(name)
	if err == nil {
		err = durable.Sync(d.root)
	}
	if err != nil {
		return none, setAside, fmt.Errorf("%w; setting it aside failed: %w", corrupt, err)
	}
	return none, setAside, nil
}

// PeekClaims is LoadClaims for a look: a damaged file is an error, and left for
// LoadClaims to set aside.
func (s *Store) PeekClaims() (Claims, error) { return peek(s, stateDir.loadClaims) }

// peek reads a file of the state directory, and changes nothing. Where there is no
// directory the value is the zero one.
func peek[T any](s *Store, load func(stateDir) (T, error)) (value T, err error) {
	d, err := openStateDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return value, nil
	}
	if err != nil {
		return value, err
	}
	defer d.close()
	return load(d)
}

func (d stateDir) loadClaims() (Claims, error) {
	nodes, err := readSealed[[]Node](d, claimsFile, claimsKind)
	return ClaimsOf(nodes), err
}

// readSealed reads JSON that seal put into a file; the zero value where there is no
// file, and a CorruptError where it is damaged.
func readSealed[T any](d stateDir, name, kind string) (value T, err error) {
	data, err := d.readStable(name)
	if errors.Is(err, fs.ErrNotExist) {
		return value, nil
	}
	if err != nil {
		return value, err
	}
	text, err := unseal(kind, data)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		var none T // not what was read before the fault
		return none, &CorruptError{d.path(name), err.Error()}
	}
	return value, nil
}

// SaveClaims remembers claims; the same ones again are not written. On error
// what was remembered before still is.
func (s *Store) SaveClaims(claims Claims) error {
	text, err := claimsText(claims)
	if err != nil {
		return fmt.Errorf("write claims: %w", err)
	}
	return s.replace(claimsFile, seal(claimsKind, text))
}

func claimsText(claims Claims) ([]byte, error) {
	var text bytes.Buffer
	text.WriteString("[\n")
	for i, n := range ClaimsOf(claims.Nodes).Nodes {
		line, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text.WriteString(",\n")
		}
		text.Write(line)
	}
	text.WriteString("\n]\n")
	return text.Bytes(), nil
}
