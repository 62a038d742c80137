package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestImage builds the image as `make image BUILDER=buildah` does, and runs it: by
// buildah, which needs neither a daemon nor a registry.
func TestImage(t *testing.T) {
	privtest.Root(t)
	buildah := privtest.Tool(t, "buildah")
	dir := t.TempDir()
	store := []string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "runroot")}
	b := func(args ...string) string { return command(t, buildah, append(store, args...)...) }

	b("build", "--isolation", "chroot", "--build-arg", "VERSION=v1.2.3", "-t", "wgsteer:test", buildContext(t))
	var image struct {
		OCIv1 struct {
			Config struct {
				Entrypoint, Cmd, Env []string
				Labels               map[string]string
				User                 string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b("inspect", "--type", "image", "wgsteer:test")), &image); err != nil {
		t.Fatal(err)
	}
	config := image.OCIv1.Config
	if got := config.Labels["org.opencontainers.image.version"]; got != "v1.2.3" {
		t.Errorf("the label says version %q", got)
	}
	config.Labels = nil
	want := config
	want.Entrypoint, want.Cmd, want.Env, want.User = []string{"/usr/local/bin/wgsteer"}, []string{"--help"}, []string{"PATH=/usr/local/bin"}, ""
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}

	container := strings.TrimSpace(b("from", "wgsteer:test"))
	if diff := cmp.Diff([]string{"/usr/local/bin/wgsteer"}, files(t, strings.TrimSpace(b("mount", container)))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	// By its name, as `kubectl exec` finds it; the binary is the one that was built.
	if out := b("run", "--isolation", "chroot", container, "--", "wgsteer", "version"); !strings.Contains(out, "v1.2.3-test") {
		t.Errorf("wgsteer version says:\n%s", out)
	}
	b("umount", container)
	b("rm", container)
}

// buildContext is what the Dockerfile takes: itself, and the binary as the Makefile builds it.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		data, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("make", "-s", "-C", "..", "build", "BIN="+filepath.Join(dir, "bin/wgsteer"), "VERSION=v1.2.3-test")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return dir
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// files are those below a directory, that is no directories.
func files(t *testing.T, top string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, top))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
