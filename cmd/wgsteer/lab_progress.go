package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// labProgress tells a person what a lab is doing, and remembers how long each
// step took. On a terminal the step under way is one line that is redrawn;
// elsewhere each step is announced by a line of its own.
type labProgress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	steps []labStep
}

// redraw is the period of the live line.
const redraw = 100 * time.Millisecond

// labCounter is how far the step under way has come, set from any goroutine.
type labCounter struct{ done, total atomic.Int64 }

func (c *labCounter) set(done, total int) {
	c.total.Store(int64(total))
	c.done.Store(int64(done))
}

// String is " 3/72", or "" while nobody counts.
func (c *labCounter) String() string {
	if total := c.total.Load(); total > 0 {
		return fmt.Sprintf(" %d/%d", c.done.Load(), total)
	}
	return ""
}

// step does what it is given under a name, a word for the report, and a text,
// which says what is going on; both are kept and shown whether it fails or not.
func (p *labProgress) step(name, text string, do func(*labCounter) error) error {
	begin := p.now()
	elapsed := func() time.Duration { return p.now().Sub(begin) }
	var counter labCounter
	stop := p.live(text, &counter, elapsed)
	err := do(&counter)
	stop()
	took := elapsed()
	p.steps = append(p.steps, labStep{Name: name, Seconds: seconds(took)})
	if p.terminal {
		mark := "ok"
		if err != nil {
			mark = "failed"
		}
		fmt.Fprintf(p.w, "  %-6s  %s%s  %.1f s\n", mark, text, &counter, took.Seconds())
	}
	return err
}

// Without wrapping, a live line that is wider than the terminal is cut rather
// than left behind; DECAWM, console_codes(4).
const (
	noWrap = "\x1b[?7l"
	wrap   = "\x1b[?7h"
)

// end sets the steps apart from what follows on the same terminal.
func (p *labProgress) end() {
	if p.terminal {
		fmt.Fprintln(p.w)
	}
}

// live keeps the line of the step under way until the returned function is
// called, which removes it and waits for the drawing to have ended.
func (p *labProgress) live(text string, counter *labCounter, elapsed func() time.Duration) (stop func()) {
	if !p.terminal {
		fmt.Fprintf(p.w, "lab: %s\n", text)
		return func() {}
	}
	quit, drawn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drawn)
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for frame := 0; ; frame++ {
			fmt.Fprintf(p.w, noWrap+"\r\x1b[K  %-6s  %s%s  %.1f s"+wrap, "....."[:1+frame/2%5], text, counter, elapsed().Seconds())
			select {
			case <-tick.C:
			case <-quit:
				fmt.Fprint(p.w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(quit); <-drawn }
}
