package keymgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
	"github.com/wgsteer/wgsteer/wgkey"
)

const (
	keyFile = "private.key"
	keyKind = "private-key"
)

// ErrNoKey is what Load and Rotate return where no key was made yet.
var ErrNoKey = errors.New("there is no private key yet; `wgsteer run` makes one")

// CorruptError is a state file whose content is not as it was written.
type CorruptError struct {
	Path   string
	Reason string // never shows the content
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt: %s; restore it from a backup, or let `wgsteer run` set it aside and start anew", e.Path, e.Reason)
}

// Store keeps this node's private key, its claims, snapshots of sources and what was
// found of the cluster in a directory of mode 0700, in files of mode 0600. Its methods
// may be called from any goroutine, and from several processes at once: those that
// write take turns.
//
// private.key is text. Its first line is the key in base64, as wg(8) prints
// and reads it (head -n 1 private.key | wg pubkey); the second and last one is
// a comment with the SHA-256 of the first.
type Store struct{ dir string }

// NewStore returns the store of a directory; it does not look at it.
func NewStore(dir string) *Store { return &Store{filepath.Clean(dir)} }

// Load returns the key. The error is ErrNoKey where there is none, and a
// *CorruptError where it is damaged.
func (s *Store) Load() (wgkey.PrivateKey, error) {
	d, err := openStateDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return wgkey.PrivateKey{}, fmt.Errorf("%s: %w", filepath.Join(s.dir, keyFile), ErrNoKey)
	}
	if err != nil {
		return wgkey.PrivateKey{}, err
	}
	defer d.close()
	return d.loadKey()
}

func (d stateDir) loadKey() (wgkey.PrivateKey, error) {
	data, err := d.readStable(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return wgkey.PrivateKey{}, fmt.Errorf("%s: %w", d.path(keyFile), ErrNoKey)
	}
	if err != nil {
		return wgkey.PrivateKey{}, err
	}
	line, err := unseal(keyKind, data)
	if err != nil {
		return wgkey.PrivateKey{}, &CorruptError{d.path(keyFile), err.Error()}
	}
	key, err := wgkey.ParsePrivateKey(strings.TrimSuffix(string(line), "\n"))
	if err != nil {
		return wgkey.PrivateKey{}, &CorruptError{d.path(keyFile), err.Error()}
	}
	return key, nil
}

// readStable is read, again where a writer renamed a new file into the place
// between its two looks.
func (d stateDir) readStable(name string) ([]byte, error) {
	for try := 1; ; try++ {
		data, err := d.read(name)
		if try == 10 || !errors.Is(err, errReplaced) {
			return data, err
		}
	}
}

// Loaded is what LoadOrCreate found or made.
type Loaded struct {
	Key     wgkey.PrivateKey
	Created bool
	// SetAside is where a corrupt key file was moved, "" if there was none. It
	// comes with Created: peers know this node by another key now, so people
	// have to be told.
	SetAside string
}

// LoadOrCreate returns the key, and makes one from rand where there is none. A
// damaged key is kept aside and a new one is made. On error there is the file
// that was there before, if any, or only the one that was set aside.
func (s *Store) LoadOrCreate(rand io.Reader) (Loaded, error) {
	key, err := s.Load() // needs no lock, and works on a read-only file system
	if err == nil {
		return Loaded{Key: key}, nil
	}
	if !replaceable(err) {
		return Loaded{}, err
	}
	d, err := createStateDir(s.dir)
	if err != nil {
		return Loaded{}, err
	}
	defer d.close()
	unlock, err := d.lock()
	if err != nil {
		return Loaded{}, err
	}
	defer unlock()
	key, err = d.loadKey() // another process may have made it meanwhile
	if err == nil {
		return Loaded{Key: key}, nil
	}
	if !replaceable(err) {
		return Loaded{}, err
	}
	return d.createKey(rand, !errors.Is(err, ErrNoKey))
}

// replaceable reports whether what Load returned leaves room for a new key. A
// key that is there but must not be read does not.
func replaceable(err error) bool {
	var corrupt *CorruptError
	return errors.Is(err, ErrNoKey) || errors.As(err, &corrupt)
}

func (d stateDir) createKey(rand io.Reader, setAside bool) (Loaded, error) {
	key, err := wgkey.NewPrivateKey(rand)
	if err != nil {
		return Loaded{}, err
	}
	made := Loaded{Key: key, Created: true}
	err = d.replaceKey(key, func() error {
		if !setAside {
			return nil
		}
		// Only now: had the new key found no room, nothing would have moved.
		made.SetAside, err = d.setAside(keyFile)
		return err
	})
	if err != nil {
		return Loaded{}, err
	}
	return made, nil
}

func (d stateDir) replaceKey(key wgkey.PrivateKey, beforeRename func() error) error {
	return durable.Replace(d.root, keyFile, seal(keyKind, []byte(key.RevealBase64()+"\n")), 0o600, beforeRename)
}

// Rotate replaces the key by a new one from rand and returns both. Without a
// sound key there is nothing to rotate. On error the old key still stands in
// the file, unless only the sync of the directory failed (see the error): then
// the new one does.
func (s *Store) Rotate(rand io.Reader) (old, new wgkey.PrivateKey, err error) {
	if old, new, err = s.rotate(rand); err != nil {
		return wgkey.PrivateKey{}, wgkey.PrivateKey{}, fmt.Errorf("rotate the private key: %w", err)
	}
	return old, new, nil
}

func (s *Store) rotate(rand io.Reader) (old, new wgkey.PrivateKey, err error) {
	if _, err := s.Load(); err != nil { // before a lock file is made
		return old, new, err
	}
	d, err := openStateDir(s.dir)
	if err != nil {
		return old, new, err
	}
	defer d.close()
	unlock, err := d.lock()
	if err != nil {
		return old, new, err
	}
	defer unlock()
	if old, err = d.loadKey(); err != nil {
		return old, new, err
	}
	if new, err = wgkey.NewPrivateKey(rand); err != nil {
		return old, new, err
	}
	return old, new, d.replaceKey(new, nil)
}
