package kube

import (
	"testing"
	"time"
)

// TestAllowance: as often as asked for at first, once a minute in the long run, and
// after a rest as at first.
func TestAllowance(t *testing.T) {
	var a allowance
	now := time.Unix(1e9, 0)
	writes := func(during time.Duration) (n int) {
		for end := now.Add(during); now.Before(end); now = now.Add(writeEvery) {
			if a.wait(now) <= 0 {
				a.spent++
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		rest, during time.Duration
		least, most  int
	}{
		{0, 50 * time.Second, 10, 10},
		{0, 10 * time.Minute, 10, 13},
		{0, time.Hour, 59, 61},
		{3 * time.Minute, 15 * time.Second, 3, 3},
		{time.Hour, 50 * time.Second, 10, 10},
	} {
		now = now.Add(c.rest)
		if n := writes(c.during); n < c.least || n > c.most {
			t.Errorf("%d writes in %s after %s, want %d to %d", n, c.during, c.rest, c.least, c.most)
		}
	}
	a.spent = 3 * allowedAtOnce // never: but then it ends
	if wait := a.wait(now); wait <= 0 || wait > allowedEvery {
		t.Errorf("wait %s", wait)
	}
}
