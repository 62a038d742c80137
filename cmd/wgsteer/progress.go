package main

import (
	"fmt"
	"time"
)

// patience is how long a verb may take before it says what it waits for.
const patience = 2 * time.Second

// waiting says on stderr what is being waited for, if it takes longer than
// patience: on a terminal in one line that counts the seconds and goes away,
// elsewhere once. The caller calls done, which waits for the writing to end.
func (e *env) waiting(text string) (done func()) {
	quit, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		start := time.Now()
		next := time.NewTimer(patience)
		defer next.Stop()
		for drawn := false; ; drawn = true {
			select {
			case <-quit:
				if drawn {
					fmt.Fprint(e.Stderr, "\r\x1b[K")
				}
				return
			case <-next.C:
			}
			if !e.StderrTerminal {
				fmt.Fprintf(e.Stderr, "wgsteer: %s\n", text)
				<-quit
				return
			}
			fmt.Fprintf(e.Stderr, "\r\x1b[K%s, %d s", text, int(time.Since(start)/time.Second))
			next.Reset(time.Second)
		}
	}()
	return func() { close(quit); <-written }
}
