package background

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// behind is how much nicer than the process's other threads one of ours is: it
	// has a tenth of their share where all of them want a processor. More would leave
	// repairs of the guard waiting for long, and what waits for its locks.
	behind = 10
	// slice is what such a thread asks to be given at once, in nanoseconds. From
	// Linux 6.12 on, one that wakes and asks for less goes before it at that moment,
	// rather than at the next tick; before, the kernel does not look at it.
	slice = 50e6
)

// Thread gives the calling goroutine a thread of its own, for the rest of its life,
// that the kernel lets go behind the others of the process. The thread ends with
// the goroutine. What the kernel refuses costs others some milliseconds, no more.
func Thread() {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return // somebody gave the process another policy
	}
	attr.Nice = min(attr.Nice+behind, 19)
	attr.Runtime = slice
	if unix.SchedSetAttr(0, attr, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, int(attr.Nice))
	}
}
