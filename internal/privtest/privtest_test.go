package privtest_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

func TestIsolate(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	ifs, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(ifs) != 1 || ifs[0].Name != "lo" || ifs[0].Flags&net.FlagUp == 0 {
		t.Errorf("a new network namespace has lo alone, up; got %v", ifs)
	}
}

func TestBPFFSIsRemoved(t *testing.T) {
	var dir string
	t.Run("inner", func(t *testing.T) {
		dir = privtest.BPFFS(t)
		if err := os.Mkdir(dir+"/sub", 0o700); err != nil {
			t.Fatal(err)
		}
	})
	if dir == "" {
		t.Skip("the inner test was skipped")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left over: %v", dir, err)
	}
}

func TestPinsOfDeadProcessesAreSwept(t *testing.T) {
	mine := privtest.BPFFS(t)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("/sys/fs/bpf/wgsteer-test-%d-1", gone.ProcessState.Pid())
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	privtest.BPFFS(t)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s, of a process that is gone, is still there: %v", left, err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("the directory of a living process: %v", err)
	}
}
