package vmtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Kernel is an unpacked Debian kernel package.
type Kernel struct {
	Package string // as Debian calls it
	Release string // as uname -r prints it
	Image   string // path of vmlinuz
	modules string // directory of the release's modules
}

// Cache is the directory in which scripts/kernel unpacks kernels.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of kernels: %w", err)
	}
	return filepath.Join(dir, "wgsteer", "kernels"), nil
}

// FindKernel looks for a package in the cache. An error says how to get it there.
func FindKernel(cache, pkg string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(cache, pkg, "boot", "vmlinuz-*"))
	if err != nil {
		return Kernel{}, fmt.Errorf("look for a kernel: %w", err)
	}
	if len(images) != 1 {
		return Kernel{}, fmt.Errorf("%d kernels in %s, want 1 (scripts/kernel %s puts it there)", len(images), filepath.Join(cache, pkg), pkg)
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	return Kernel{
		Package: pkg, Release: release, Image: images[0],
		modules: filepath.Join(cache, pkg, "lib", "modules", release),
	}, nil
}

// moduleFiles are the kernel's modules, paths by name.
func (k Kernel) moduleFiles() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok && err == nil {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the modules of %s: %w", k.Package, err)
	}
	return files, nil
}
