package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const colours = `#ifndef COLOURS_H
/* Colour: what the eye sees. */
#define COLOURS(X)          \
	X(red, "as blood")      \
	X(not_ip, "as the rest")

#endif
`

func TestParse(t *testing.T) {
	got, err := parse(colours)
	if err != nil {
		t.Fatal(err)
	}
	want := []list{{"Colour", "what the eye sees.", []entry{{"red", "as blood"}, {"not_ip", "as the rest"}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A list read wrong would give wrong numbers to all that follows.
func TestParseRefuses(t *testing.T) {
	for name, header := range map[string]string{
		"no list":                "#define N 1\n",
		"no documentation":       strings.Replace(colours, `X(red, "as blood")`, `X(red)`, 1),
		"empty documentation":    strings.Replace(colours, `as blood`, ``, 1),
		"two entries in a line":  strings.Replace(colours, `X(red, "as blood")`, `X(red, "as blood") X(blue, "as the sky")`, 1),
		"a list without comment": strings.Replace(colours, "Colour: what", "what", 1),
	} {
		if got, err := parse(header); err == nil {
			t.Errorf("%s: parsed as %v, want an error", name, got)
		}
	}
}

// What is committed is what the header says.
func TestGeneratedIsCurrent(t *testing.T) {
	output := filepath.Join(t.TempDir(), "enums_gen.go")
	if err := run([]string{"../../names.h", output}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../enums_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("bpf/enums_gen.go is not of bpf/names.h; run go generate ./bpf (-want +got)\n%s", diff)
	}
}
