package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// Replace writes data aside as a file of mode perm, whatever the umask, syncs
// it, calls beforeRename if it is not nil, renames it to name, and syncs the
// directory. A symbolic link at name is replaced, not followed.
//
// On error the file at name is as it was, unless only the last sync failed:
// then it is the new one, and a power cut may still bring back the old one.
// What writers that were killed left aside is removed first, so there must be
// no second writer of name at that time.
func Replace(root *os.Root, name string, data []byte, perm fs.FileMode, beforeRename func() error) error {
	path := filepath.Join(root.Name(), name)
	if err := removeLeftovers(root, name); err != nil {
		return fmt.Errorf("clear what is left of an earlier write of %s: %w", path, err)
	}
	f, err := renameio.NewPendingFile(name, renameio.WithRoot(root), renameio.WithStaticPermissions(perm))
	if err != nil {
		return fmt.Errorf("create a file to replace %s: %w", path, err)
	}
	if err := fill(f, data, beforeRename); err != nil {
		_ = f.Cleanup() // the error that made it necessary says more
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return Sync(root)
}

func fill(f *renameio.PendingFile, data []byte, beforeRename func() error) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if beforeRename != nil {
		if err := beforeRename(); err != nil {
			return err
		}
	}
	return f.CloseAtomicallyReplace()
}

// Sync makes the names in root survive a power cut.
func Sync(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open %s to sync it: %w", root.Name(), err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", root.Name(), err)
	}
	return nil
}

// removeLeftovers knows how renameio calls its files: a dot, the name, and a
// decimal number.
func removeLeftovers(root *os.Root, name string) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), "."+name)
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		if err := root.Remove(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
