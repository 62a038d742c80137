package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/vmtest"
)

// modprobe is called by the kernel as "modprobe -q -- NAME", where it lacks
// something; what is not there, is not there.
func modprobe(args []string) error {
	job, err := readJob()
	if err != nil {
		return err
	}
	for _, name := range args {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if err := load(job.Modules, name); err != nil {
			return err
		}
	}
	return nil
}

// load loads the modules of that name or alias, each after what it depends on.
func load(modules []vmtest.Module, request string) error {
	wanted := strings.ReplaceAll(request, "-", "_")
	found := false
	for _, m := range modules {
		if m.Name != wanted && !slices.Contains(m.Aliases, wanted) {
			continue
		}
		found = true
		for _, d := range m.Depends {
			if err := load(modules, d); err != nil {
				return err
			}
		}
		if err := insert(m); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no module %s in this machine", request)
	}
	return nil
}

func insert(m vmtest.Module) error {
	f, err := os.Open(m.Path)
	if err != nil {
		return fmt.Errorf("open module %s: %w", m.Name, err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", m.Name, err)
	}
	return nil
}
