package netlab

import (
	"testing"

	"golang.org/x/sys/unix"
)

// ShrinkBuffer leaves a capture the smallest buffer that the kernel grants, for a
// frame or two, so that it must lose some of a burst.
func ShrinkBuffer(t *testing.T, c *Capture) {
	t.Helper()
	if err := c.control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1)
	}); err != nil {
		t.Fatal(err)
	}
}
