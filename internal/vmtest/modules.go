package vmtest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// moduleName is a module's name as the kernel writes it: files and requests use
// dashes as well.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// closure returns the named modules and all that they depend on, in an order in
// which they can be loaded.
func closure(names []string, read func(name string) (Module, error)) ([]Module, error) {
	var out []Module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if seen[name] {
			return nil
		}
		seen[name] = true
		m, err := read(name)
		if err != nil {
			return err
		}
		for _, d := range m.Depends {
			if err := visit(d); err != nil {
				return fmt.Errorf("module %s: %w", name, err)
			}
		}
		out = append(out, m)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readModule reads what a module file says of itself.
func readModule(name, path string) (Module, error) {
	f, err := elf.Open(path)
	if err != nil {
		return Module{}, fmt.Errorf("open module %s: %w", name, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return Module{}, fmt.Errorf("module %s: no .modinfo in %s", name, path)
	}
	info, err := section.Data()
	if err != nil {
		return Module{}, fmt.Errorf("read module %s: %w", name, err)
	}
	m := parseModinfo(info)
	m.Name, m.Path = name, path
	return m, nil
}

// parseModinfo reads dependencies and exact aliases; wildcards are for hardware.
func parseModinfo(info []byte) Module {
	var m Module
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "depends":
			m.Depends = append(m.Depends, strings.FieldsFunc(value, func(r rune) bool { return r == ',' })...)
		case "alias":
			if !strings.ContainsAny(value, "*?[") {
				m.Aliases = append(m.Aliases, moduleName(value))
			}
		}
	}
	return m
}
