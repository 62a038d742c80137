package vmtest

import (
	"fmt"
	"io"
	"path"
	"slices"
)

// archive writes the cpio format that the kernel unpacks as its first file
// system: "newc", 070701. Documentation/driver-api/early-userspace/
// buffer-format.rst of Linux describes it; it is 13 numbers of eight hexadecimal
// digits, a name and data, the last two padded to four bytes.
type archive struct {
	w       io.Writer
	entries uint32
	dirs    map[string]bool
	err     error
}

// Types and permissions of entries, as in st_mode.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeLink = 0o120777
	modeChar = 0o020600
)

func newArchive(w io.Writer) *archive {
	return &archive{w: w, dirs: map[string]bool{"/": true}}
}

// file adds a file that may be executed.
func (a *archive) file(name string, data []byte) { a.add(name, modeFile, data, 0, 0) }

// link adds a symbolic link.
func (a *archive) link(name, target string) { a.add(name, modeLink, []byte(target), 0, 0) }

// device adds a character device.
func (a *archive) device(name string, major, minor uint32) {
	a.add(name, modeChar, nil, major, minor)
}

// dir adds a directory and those above, each once.
func (a *archive) dir(name string) {
	var missing []string
	for d := path.Clean("/" + name); !a.dirs[d]; d = path.Dir(d) {
		a.dirs[d] = true
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		a.entry(d, modeDir, nil, 0, 0)
	}
}

// close ends the archive and returns the first error of all.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil, 0, 0)
	return a.err
}

func (a *archive) add(name string, mode uint32, data []byte, major, minor uint32) {
	a.dir(path.Dir(name))
	a.entry(name, mode, data, major, minor)
}

func (a *archive) entry(name string, mode uint32, data []byte, major, minor uint32) {
	if a.err != nil {
		return
	}
	name = path.Clean("/" + name)[1:]
	a.entries++
	head := []byte("070701")
	for _, n := range []uint32{
		a.entries, mode, 0, 0, 1, 0, // inode, mode, uid, gid, links, time
		uint32(len(data)), 0, 0, major, minor, // the last two of the device that it is
		uint32(len(name) + 1), 0, // a checksum that newc has not
	} {
		head = fmt.Appendf(head, "%08x", n)
	}
	head = padded(append(append(head, name...), 0))
	for _, b := range [][]byte{head, data, make([]byte, -len(data)&3)} {
		if _, err := a.w.Write(b); err != nil {
			a.err = fmt.Errorf("write %s to the archive: %w", name, err)
			return
		}
	}
}

func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
