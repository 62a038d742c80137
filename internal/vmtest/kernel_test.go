package vmtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

func TestFindKernel(t *testing.T) {
	cache := t.TempDir()
	boot := filepath.Join(cache, "linux-image-x", "boot")
	if err := os.MkdirAll(boot, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := vmtest.FindKernel(cache, "linux-image-x"); err == nil || !strings.Contains(err.Error(), "scripts/kernel linux-image-x") {
		t.Errorf("one that is not there: %v, want how to get it", err)
	}
	for _, name := range []string{"vmlinuz-6.1.0-56-x", "config-6.1.0-56-x"} {
		if err := os.WriteFile(filepath.Join(boot, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := vmtest.FindKernel(cache, "linux-image-x")
	want := vmtest.Kernel{Package: "linux-image-x", Release: "6.1.0-56-x", Image: filepath.Join(boot, "vmlinuz-6.1.0-56-x")}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(vmtest.Kernel{})); err != nil || diff != "" {
		t.Errorf("%v; (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(boot, "vmlinuz-6.1.0-57-x"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := vmtest.FindKernel(cache, "linux-image-x"); err == nil {
		t.Error("two in one package are no error")
	}
}

// TestMissing: without qemu the reason says how to get it.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := vmtest.Missing(); err == nil || !strings.Contains(err.Error(), "scripts/setup vm") {
		t.Errorf("got %v, want how to install qemu", err)
	}
}
