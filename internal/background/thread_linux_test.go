package background_test

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/background"
)

// The process's first thread never ends: kept here, it is not the one of the test.
func init() { runtime.LockOSThread() }

// TestThread has the goroutine's thread behind the others as long as it runs, and
// gone, rather than given to others, when it has ended.
func TestThread(t *testing.T) {
	first := os.Getpid()
	before := nice(t, first)
	thread := make(chan int)
	end := make(chan struct{})
	go func() {
		background.Thread()
		thread <- unix.Gettid()
		<-end
	}()
	id := <-thread
	if got, want := nice(t, id), min(before+10, 19); got != want {
		t.Errorf("the thread has niceness %d, want %d", got, want)
	}
	if got := nice(t, first); got != before {
		t.Errorf("another thread had niceness %d, now %d", before, got)
	}
	close(end)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(id))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d outlives its goroutine: %v", id, err)
		}
	}
}

func nice(t *testing.T, thread int) int32 {
	t.Helper()
	attr, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Nice
}
