package netlab

import (
	"testing"

	"golang.org/x/sys/unix"
)

// ShrinkBuffer leaves a capture the smallest buffer that the kernel grants, for a
// frame or two, so that it must lose some of a burst.
func ShrinkBuffer(t *testing.T, c *Capture) {
	t.Helper()
	conn, err := c.socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}

// FindPlugin looks for a CNI plugin in directories.
var FindPlugin = findPlugin
