package durable_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
)

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// files maps the names in dir to their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/.key-1", "not ours") // no name that Replace would choose
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, content := range []string{"first", "second"} {
		if err := durable.Replace(open(t, dir), "key", []byte(content), 0o644, nil); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"key": content, ".key-1": "not ours"}
		if diff := cmp.Diff(want, files(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
	if info, err := os.Lstat(dir + "/key"); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v; want 0644 whatever the umask", info.Mode(), err)
	}
}

func TestReplaceDoesNotFollowLinks(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	put(t, target, "precious")
	if err := os.Symlink(target, dir+"/key"); err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(open(t, dir), "key", []byte("new"), 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Dir(target))["target"]; got != "precious" {
		t.Errorf("the link's target reads %q", got)
	}
	if info, err := os.Lstat(dir + "/key"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link was not replaced: %v, %v", info.Mode(), err)
	}
}

func TestFailureBeforeRenameLeavesTheOld(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/key", "old")
	stop := errors.New("stop")
	err := durable.Replace(open(t, dir), "key", []byte("new"), 0o600, func() error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the hook's error", err)
	}
	if diff := cmp.Diff(map[string]string{"key": "old"}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestKilledBeforeRename has another process die between writing and renaming.
func TestKilledBeforeRename(t *testing.T) {
	const env = "DURABLE_TEST_DIR"
	if dir := os.Getenv(env); dir != "" {
		err := durable.Replace(open(t, dir), "key", []byte("new"), 0o600, func() error {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		})
		t.Fatalf("survived: %v", err)
	}
	dir := t.TempDir()
	put(t, dir+"/key", "old")
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledBeforeRename$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the other process did not die as it should: %v\n%s", err, out)
	}
	left := files(t, dir)
	if left["key"] != "old" || len(left) != 2 {
		t.Fatalf("after the kill: %v, want the old content and one file aside", left)
	}
	if err := durable.Replace(open(t, dir), "key", []byte("newer"), 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"key": "newer"}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
