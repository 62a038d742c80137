package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLabProgressPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := labProgress{w: &out, now: time.Now}
		wrong := errors.New("it broke")
		if err := p.step("network", "lay the network", func(*labCounter) error { time.Sleep(time.Second); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := p.step("flows", "run the flows", func(c *labCounter) error { c.set(1, 2); time.Sleep(2 * time.Second); return wrong }); err != wrong {
			t.Errorf("a step's error is %v, want its own", err)
		}
		if diff := cmp.Diff("lab: lay the network\nlab: run the flows\n", out.String()); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]labStep{{"network", 1}, {"flows", 2}}, p.steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

func TestLabProgressTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := labProgress{w: &out, terminal: true, now: time.Now}
		err := p.step("flows", "run the flows", func(c *labCounter) error {
			time.Sleep(redraw / 2)
			c.set(3, 72)
			time.Sleep(redraw)
			c.set(72, 72)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = p.step("teardown", "take it down", func(*labCounter) error { return errors.New("it broke") })
		// What stays of a line is what follows the last erasure.
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, line[strings.LastIndex(line, "\x1b[K")+len("\x1b[K"):])
		}
		want := []string{"  ok      run the flows 72/72  0.1 s\n", "  failed  take it down  0.0 s\n"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("lines that stay (-want +got):\n%s", diff)
		}
		for _, live := range []string{"  .       run the flows  0.0 s" + wrap, "run the flows 3/72  0.1 s" + wrap} {
			if !strings.Contains(out.String(), live) {
				t.Errorf("the live line never was %q:\n%q", live, out.String())
			}
		}
	})
}
