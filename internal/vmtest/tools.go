package vmtest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// toolFiles are the paths of an executable of this host and of the shared
// libraries that it is linked with. In the guest they have the same paths.
func toolFiles(name string) ([]string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("find %s for the guest: %w", name, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("find %s for the guest: %w", name, err)
	}
	out, err := exec.Command("ldd", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		return nil, fmt.Errorf("find the libraries of %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	libraries, err := parseLdd(string(out))
	if err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w", name, err)
	}
	return slices.Concat([]string{path}, libraries), nil
}

// parseLdd reads the paths that ldd(1) prints: "NAME => PATH (ADDRESS)", or
// "PATH (ADDRESS)" for the loader. What the kernel itself provides has no path.
func parseLdd(out string) ([]string, error) {
	var paths []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "=> not found") {
			return nil, fmt.Errorf("ldd: %s", strings.TrimSpace(line))
		}
		for _, word := range strings.Fields(line) {
			if filepath.IsAbs(word) {
				paths = append(paths, word)
			}
		}
	}
	return paths, nil
}
