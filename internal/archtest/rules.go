package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// pkg is one package, as package go/build describes it.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// complaints is what is wrong with the packages, one line each.
func complaints(pkgs []pkg) []string {
	var out []string
	for _, p := range pkgs {
		out = append(out, manners(p)...)
		for _, i := range p.Imports {
			out = append(out, judge(p, i)...)
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if rel, ours := within(i); ours && i != p.ImportPath && matchesAny(forNobody, rel) {
				out = append(out, fmt.Sprintf("%s: its tests import %s, which nothing may", p.ImportPath, rel))
			}
		}
	}
	return out
}

// manners judges a package by itself.
func manners(p pkg) []string {
	var out []string
	rel, _ := within(p.ImportPath)
	if _, ok := lookUp(rel); !ok {
		out = append(out, fmt.Sprintf("%s: is not in the import table", p.ImportPath))
	}
	if slices.Contains(nameless, p.Name) {
		out = append(out, fmt.Sprintf("%s: the name %q does not say what it is for", p.ImportPath, p.Name))
	}
	// A directory of external tests alone has no package to document.
	if p.Doc == "" && len(p.GoFiles) > 0 {
		out = append(out, fmt.Sprintf("%s: no package comment", p.ImportPath))
	}
	return out
}

// judge says whether the code of p, tests aside, may import path.
func judge(p pkg, path string) []string {
	self, _ := within(p.ImportPath)
	if owner, allowed := exclusive(path); owner != "" && !matchesAny(allowed, self) {
		return []string{fmt.Sprintf("%s: imports %s, which only %s may", p.ImportPath, path, names(allowed))}
	}
	rel, ours := within(path)
	if !ours || rel == leaf || private(rel) {
		return nil
	}
	if matchesAny(forTests, rel) && !matchesAny(forTests, self) {
		return []string{fmt.Sprintf("%s: imports %s, which is for tests", p.ImportPath, rel)}
	}
	if matchesAny(forNobody, rel) && root(rel) != root(self) {
		return []string{fmt.Sprintf("%s: imports %s, which nothing may", p.ImportPath, rel)}
	}
	if r, ok := lookUp(self); ok && !matchesAny(r.may, rel) {
		return []string{fmt.Sprintf("%s: may import %s of this module, not %s", p.ImportPath, names(r.may), rel)}
	}
	return nil
}

// private tells a package below another's internal directory: Go itself says
// who may import it, and it may import nothing.
func private(rel string) bool { return strings.Contains(rel, "/internal/") }

// lookUp returns the first rule of the table that matches a package.
func lookUp(self string) (rule, bool) {
	if private(self) {
		return rule{pattern: self}, true
	}
	i := slices.IndexFunc(table, func(r rule) bool { return matches(r.pattern, self) })
	if i < 0 {
		return rule{}, false
	}
	return table[i], true
}

// exclusive returns the longest path in owners that holds path, and its owners.
func exclusive(path string) (owned string, allowed []string) {
	for prefix, by := range owners {
		if len(prefix) > len(owned) && matches(prefix+"/...", path) {
			owned, allowed = prefix, by
		}
	}
	return owned, allowed
}

// within returns path relative to this module.
func within(path string) (rel string, ours bool) {
	return strings.CutPrefix(path, module+"/")
}

// root is the first element of a path.
func root(rel string) string {
	first, _, _ := strings.Cut(rel, "/")
	return first
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

func matches(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	prefix, below := strings.CutSuffix(pattern, "/...")
	return path == prefix || below && strings.HasPrefix(path, prefix+"/")
}

func names(patterns []string) string {
	if len(patterns) == 0 {
		return "nothing"
	}
	return strings.Join(patterns, ", ")
}
