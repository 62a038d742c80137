package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// content is one file of the directory, as it was read.
type content struct {
	name string // of the node, by the file's name
	path string
	data []byte
	err  error // why data is missing
}

// readRecords returns the directory's records in the order of their names.
// Links are followed, as a ConfigMap's volume consists of them. An error says
// that the directory itself could not be read.
func readRecords(dir string) ([]content, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory of node records does not exist; create %s, or configure another", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the directory of node records: %w", err)
	}
	var records []content
	for _, e := range entries {
		name, ok := recordName(e.Name())
		if !ok {
			continue
		}
		runtime.Gosched() // packets go first
		path := filepath.Join(dir, e.Name())
		data, err := readRecord(path)
		if _, there := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && there != nil {
			continue // removed since the directory was read
		}
		records = append(records, content{name, path, data, err})
	}
	return records, nil
}

// recordName returns the node that a file is the record of. What editors and
// tools leave behind, hidden or with another extension, is none.
func recordName(base string) (string, bool) {
	ext := filepath.Ext(base)
	if ext != ".yaml" && ext != ".yml" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "#") {
		return "", false
	}
	return strings.TrimSuffix(base, ext), true
}

// readRecord reads one byte more than a record may have, at most, and does not
// wait for pipes and the like.
func readRecord(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxRecord+1))
}
