package udpbind_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// TestReaderThatFails puts another kind of file in the place of the socket's
// descriptor, so that every read fails, and takes it away again.
func TestReaderThatFails(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	reader := func() udpbind.Reader { return b.Stats().Readers[0] }
	fd := descriptorOf(t, b.identities()[0].Inode)
	files, err := b.Files()
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(by *os.File) {
		t.Helper()
		if err := unix.Dup3(int(by.Fd()), fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	replace(other)
	if err := a.Send(messages(80), b.at("127.0.0.1")); err != nil { // wakes the reader
		t.Fatal(err)
	}
	waitFor(t, "the reader to report that it fails", func() bool { return reader().Failing })
	if r := reader(); r.State != udpbind.ReaderWaiting || !strings.Contains(r.LastError, "recvmmsg") {
		t.Errorf("a failing reader: %+v", r)
	}
	// 1+2+4 ... 512 ms make ten failures a second; without back-off it would be
	// hundreds of thousands.
	failures := b.Stats().Drops[udpbind.DropReceiveError]
	waitFor(t, "another attempt", func() bool { return b.Stats().Drops[udpbind.DropReceiveError] > failures+1 })
	if n := b.Stats().Drops[udpbind.DropReceiveError]; n > 1000 {
		t.Errorf("%d failures: the reader spins", n)
	}
	replace(files[0])
	b.expect(1)
	if r := reader(); r.Failing || r.LastError == "" || r.LastReturn.IsZero() {
		t.Errorf("after it mended: %+v", r)
	}
	replace(other)
	if err := a.Send(messages(80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the reader to fail again", func() bool { return reader().Failing })
	b.close() // a reader that backs off is woken too
	replace(files[0])
	for _, f := range append(files, other) {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// descriptorOf finds this process's first descriptor of an inode.
func descriptorOf(t *testing.T, inode uint64) int {
	t.Helper()
	for fd := range 1024 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Ino == inode && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return fd
		}
	}
	t.Fatalf("no descriptor has inode %d", inode)
	return -1
}
