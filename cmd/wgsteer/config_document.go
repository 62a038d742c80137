package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// configError is one thing wrong with a configuration file.
type configError struct {
	File  string
	Line  int    // 1 is the first
	Field string // "log.level"; "" where the file is no YAML
	Value string
	// Problem says what is wrong, or what would be right.
	Problem string
}

func (e configError) Error() string {
	where := fmt.Sprintf("%s:%d: ", e.File, e.Line)
	if e.Field == "" {
		return where + e.Problem
	}
	return where + e.Field + ": " + e.Value + ": " + e.Problem
}

// document is a configuration file that was read but not validated, and the
// errors found so far.
type document struct {
	file string
	errs []configError
	// lines are those of fields and of their values, for errors that are found
	// later.
	lines map[place]int
	// known are the fields that readers asked for, as "log.level".
	known map[string]bool
}

// place is a value of a field, or the field itself where value is "".
type place struct{ field, value string }

// section is one mapping of a document. Readers take its fields; what is left
// is unknown.
type section struct {
	doc    *document
	prefix string // "" or "log."
	fields map[string]entry
	order  []string // of fields in the file
	known  []string // what readers asked for
}

type entry struct{ key, value ast.Node }

// parseDocument reads YAML: one mapping, or nothing. The section is never nil.
func parseDocument(file string, text []byte) (*document, *section) {
	doc := &document{file: file, lines: map[place]int{}, known: map[string]bool{}}
	root := &section{doc: doc}
	// The parser counts some line ends of CR LF twice (goccy/go-yaml v1.19.2:
	// "#\r\n0" has its 0 in line 3).
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		doc.syntax(err)
		return doc, root
	}
	var body ast.Node
	for _, d := range tree.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			doc.add(d.Body, "", "", "a second YAML document; a configuration is one")
			break
		}
		body = d.Body
	}
	if body == nil {
		return doc, root
	}
	m, ok := body.(ast.MapNode)
	if !ok {
		doc.add(body, "", "", "fields and values are needed, such as \"node: node-a\", not "+describe(body))
		return doc, root
	}
	root.fill(m)
	return doc, root
}

// syntax records an error of the parser.
func (d *document) syntax(err error) {
	e := configError{File: d.file, Line: 1, Problem: err.Error()}
	var at yaml.Error
	if errors.As(err, &at) {
		e.Problem = at.GetMessage()
		if t := at.GetToken(); t != nil && t.Position != nil {
			e.Line = t.Position.Line
		}
	}
	e.Problem = "not YAML: " + e.Problem
	d.errs = append(d.errs, e)
}

// add records an error at a node's line.
func (d *document) add(n ast.Node, field, value, problem string) {
	d.errs = append(d.errs, configError{d.file, lineOf(n), field, value, problem})
}

func (s *section) fill(m ast.MapNode) {
	s.fields = map[string]entry{}
	for it := m.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		s.fields[name] = entry{it.Key(), it.Value()}
		s.order = append(s.order, name)
		s.doc.lines[place{s.prefix + name, ""}] = lineOf(it.Key())
	}
}

// take returns the value of a field, nil where it is absent or nothing is
// after its name, and makes the field a known one.
func (s *section) take(name string) ast.Node {
	s.known = append(s.known, name)
	s.doc.known[s.prefix+name] = true
	n := s.fields[name].value
	if n == nil || n.Type() == ast.NullType {
		return nil
	}
	return n
}

// section takes a field that is itself a mapping; an absent one is empty.
func (s *section) section(name, example string) *section {
	sub := &section{doc: s.doc, prefix: s.prefix + name + "."}
	n := s.take(name)
	if n == nil {
		return sub
	}
	if m, ok := n.(ast.MapNode); ok {
		sub.fill(m)
	} else {
		s.doc.add(n, s.prefix+name, show(n), "fields are needed here, such as "+example)
	}
	return sub
}

// unknownField begins what is said of a field that no reader asked for.
const unknownField = "unknown field"

// rejectUnknown is called when all fields were taken.
func (s *section) rejectUnknown() {
	for _, name := range s.order {
		if slices.Contains(s.known, name) {
			continue
		}
		problem := unknownField + "; known are " + strings.Join(s.known, ", ")
		if i := slices.IndexFunc(s.known, func(k string) bool { return similar(k, name) }); i >= 0 {
			problem = unknownField + "; did you mean " + s.prefix + s.known[i] + "?"
		}
		s.doc.add(s.fields[name].key, s.prefix+shorten(name), show(s.fields[name].value), problem)
	}
}

// similar reports whether two names differ by case, by word separators or by
// an ending alone.
func similar(a, b string) bool {
	plain := strings.NewReplacer("-", "", "_", "")
	a, b = strings.ToLower(plain.Replace(a)), strings.ToLower(plain.Replace(b))
	return b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}
