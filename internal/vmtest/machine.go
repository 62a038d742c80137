package vmtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
)

// Machine is what is booted. Only Kernel and Guest are required.
type Machine struct {
	Kernel    Kernel
	Guest     string            // path of package vmtest/guest, built with CGO_ENABLED=0
	Files     map[string]string // this host's paths by the guest's
	Tools     []string          // executables of this host by name, with their libraries
	Modules   []string          // what can be loaded, when the kernel or modprobe asks for it
	Load      []string          // what is loaded before the first command
	MemoryMiB int               // 1024 where 0; the files lie in memory
	CPUs      int               // 2 where 0
}

// Guest paths: process 1, which answers to modprobe's name as well.
const (
	initPath     = "/init"
	modprobePath = "/sbin/modprobe"
)

// dirs are there in any machine.
var dirs = []string{"dev", "proc", "sys", "tmp", "run", "root", "etc"}

// write packs the machine's first file system.
func (m Machine) write(w io.Writer, commands []Command) error {
	modules, err := m.closure()
	if err != nil {
		return err
	}
	files := maps.Clone(m.Files)
	if files == nil {
		files = map[string]string{}
	}
	files[initPath] = m.Guest
	for _, tool := range m.Tools {
		paths, err := toolFiles(tool)
		if err != nil {
			return err
		}
		for _, p := range paths {
			files[p] = p
		}
	}
	for i, mod := range modules {
		modules[i].Path = path.Join("/lib/modules", mod.Name+".ko")
		files[modules[i].Path] = mod.Path
	}
	job, err := json.Marshal(Job{Modules: modules, Load: m.Load, Commands: commands})
	if err != nil {
		return fmt.Errorf("encode the guest's job: %w", err)
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	if err := pack(newArchive(buffered), files, job); err != nil {
		return err
	}
	return buffered.Flush()
}

func pack(a *archive, files map[string]string, job []byte) error {
	for _, d := range dirs {
		a.dir(d)
	}
	a.device("dev/console", 5, 1) // the kernel opens it for process 1 before anything is mounted
	a.link("var/run", "/run")
	a.link(modprobePath, initPath)
	a.file(JobPath, job)
	for _, guest := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(files[guest])
		if err != nil {
			return fmt.Errorf("pack a file for the guest: %w", err)
		}
		a.file(guest, data)
	}
	return a.close()
}

// closure is what of the kernel's modules the machine gets.
func (m Machine) closure() ([]Module, error) {
	files, err := m.Kernel.moduleFiles()
	if err != nil {
		return nil, err
	}
	return closure(slices.Concat(m.Load, m.Modules), func(name string) (Module, error) {
		file, ok := files[name]
		if !ok {
			return Module{}, fmt.Errorf("%s has no module %s", m.Kernel.Package, name)
		}
		return readModule(name, file)
	})
}
