package main

import (
	"fmt"
	"math"

	"github.com/goccy/go-yaml/ast"
)

// text reads a field that is a string; where it is absent, otherwise.
func (s *section) text(name, otherwise string) string {
	v, ok := scalar(s, name, "a text is needed; put it in quotes", func(t string) (string, error) { return t, nil })
	if !ok {
		return otherwise
	}
	return v
}

// scalar reads a field whose value is a string that parse understands; ok is
// false where it is absent or wrong. want says what is right, for errors.
func scalar[T any](s *section, name, want string, parse func(string) (T, error)) (v T, ok bool) {
	n := s.take(name)
	if n == nil {
		return v, false
	}
	return value(s, name, n, want, parse)
}

// list reads a field that is a list of such strings.
func list[T any](s *section, name, want string, parse func(string) (T, error)) []T {
	var values []T
	for _, item := range s.items(name) {
		if v, ok := value(s, name, item, want, parse); ok {
			values = append(values, v)
		}
	}
	return values
}

// ports reads a field that is a list of UDP ports.
func (s *section) ports(name string) []uint16 {
	var ports []uint16
	for _, item := range s.items(name) {
		if v, ok := s.number(name, item, 1, 65535); ok {
			ports = append(ports, uint16(v))
		}
	}
	return ports
}

// items are the elements of a list; none where it is absent or no list.
func (s *section) items(name string) []ast.Node {
	n := s.take(name)
	if n == nil {
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		s.doc.add(n, s.prefix+name, show(n), "a list is needed, such as ["+show(n)+"]")
		return nil
	}
	return seq.Values
}

func value[T any](s *section, name string, n ast.Node, want string, parse func(string) (T, error)) (v T, ok bool) {
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	default:
		s.doc.add(n, s.prefix+name, show(n), want+", not "+describe(n))
		return v, false
	}
	v, err := parse(text)
	if err != nil {
		s.doc.add(n, s.prefix+name, show(n), want)
		return v, false
	}
	s.doc.lines[place{s.prefix + name, fmt.Sprint(v)}] = lineOf(n)
	return v, true
}

// integer reads a whole number from low to high; absent is 0.
func (s *section) integer(name string, low, high int) int {
	n := s.take(name)
	if n == nil {
		return 0
	}
	v, _ := s.number(name, n, low, high)
	return v
}

// number is the value of n, a whole number from low to high; 0 and false where it
// is none.
func (s *section) number(name string, n ast.Node, low, high int) (int, bool) {
	want := fmt.Sprintf("a whole number from %d to %d is needed", low, high)
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		s.doc.add(n, s.prefix+name, show(n), want+", not "+describe(n))
		return 0, false
	}
	v := int64(math.MinInt64)
	switch x := i.Value.(type) {
	case int64:
		v = x
	case uint64:
		v = int64(min(x, math.MaxInt64))
	}
	if v < int64(low) || v > int64(high) {
		s.doc.add(n, s.prefix+name, show(n), want)
		return 0, false
	}
	s.doc.lines[place{s.prefix + name, fmt.Sprint(v)}] = lineOf(n)
	return int(v), true
}
