package file_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

// TestWithoutWatches runs in a process of its own, whose user namespace allows
// no inotify instance.
func TestWithoutWatches(t *testing.T) {
	const env = "WGSTEER_TEST_UNWATCHED"
	if os.Getenv(env) == "" {
		privtest.Root(t)
		cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutWatches$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		ids := []syscall.SysProcIDMap{{Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL, UidMappings: ids, GidMappings: ids}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestWithoutWatches")) {
			t.Fatalf("in its own user namespace: %v\n%s", err, out)
		}
		return
	}
	must(t, os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0o644))
	dir := t.TempDir()
	publish(t, dir, node("a", 1))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	s := awaitNames(t, got, "a")
	if len(s.Problems) != 1 || !s.Problems[0].Warning || s.Problems[0].Record != dir ||
		!strings.HasPrefix(s.Problems[0].Message, "changes are looked for every second, as the system cannot tell of them: ") ||
		!strings.HasSuffix(s.Problems[0].Message, "; raise fs.inotify.max_user_instances with sysctl") {
		t.Errorf("problems: %+v", s.Problems)
	}
	publish(t, dir, node("b", 2))
	awaitNames(t, got, "a", "b")
}
