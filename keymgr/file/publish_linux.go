package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
)

// Publish implements keymgr.Source: it writes Self's record, mode 0644, by
// replacing the file as a whole, before it returns. A record that other nodes would
// refuse is an error, and so is a directory that cannot be written, or that Run
// cannot read: alone in the place of one that went away, the record would say that
// all the other nodes are gone.
func (s *Source) Publish(ctx context.Context, self keymgr.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if self.Name != s.self {
		return fmt.Errorf("publish the record of node %q: this source writes that of %q only", self.Name, s.self)
	}
	data, err := render(self)
	if err != nil {
		return fmt.Errorf("publish the record of node %q: %w", self.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.write(self.Name, data)
	if err != nil {
		return fmt.Errorf("publish this node's record: %w", err)
	}
	if changed {
		select {
		case s.published <- struct{}{}:
		default: // Run will look in any case
		}
	}
	return nil
}

func (s *Source) write(name string, data []byte) (changed bool, err error) {
	if s.partial {
		return false, errors.New("not while the other nodes' records cannot be read")
	}
	// Only once: in the place of a directory that went away, an empty one would
	// say that all the other nodes are gone.
	if !s.made {
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return false, fmt.Errorf("create the directory of node records: %w", err)
		}
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return false, fmt.Errorf("open the directory of node records: %w", err)
	}
	defer root.Close()
	s.made = true
	if _, err := root.Lstat(name + ".yml"); err == nil {
		return false, fmt.Errorf("%s would be a second record of this node; remove it", filepath.Join(s.dir, name+".yml"))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for a second record of this node: %w", err)
	}
	file := name + ".yaml"
	if isPublished(root, file, data) {
		return false, nil
	}
	return true, durable.Replace(root, file, data, 0o644, nil)
}

// isPublished reports whether file is a regular one with that content, which
// others can read.
func isPublished(root *os.Root, file string, data []byte) bool {
	info, err := root.Lstat(file)
	if err != nil || info.Mode() != 0o644 || info.Size() != int64(len(data)) {
		return false
	}
	old, err := root.ReadFile(file)
	return err == nil && bytes.Equal(old, data)
}
