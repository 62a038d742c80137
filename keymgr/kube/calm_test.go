package kube

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A snapshot waits until nothing has changed for 75 ms, and for 500 ms at most.
func TestCalm(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name    string
		changes int           // after the first
		every   time.Duration // between them
		want    time.Duration
	}{
		{"one change", 0, 0, 75 * ms},
		{"three changes", 2, 50 * ms, 175 * ms},
		{"one that comes later", 1, 80 * ms, 75 * ms},
		{"changes without end", 100, 40 * ms, 500 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wake := make(chan struct{}, 1)
				var group sync.WaitGroup
				defer group.Wait()
				group.Go(func() {
					for range c.changes {
						time.Sleep(c.every)
						poke(wake)
					}
				})
				start := time.Now()
				if !calm(t.Context(), wake) {
					t.Error("it ended")
				}
				if took := time.Since(start); took != c.want {
					t.Errorf("took %s, want %s", took, c.want)
				}
			})
		})
	}
	t.Run("the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
			defer cancel()
			if calm(ctx, make(chan struct{})) {
				t.Error("it goes on though it should end")
			}
		})
	})
}
