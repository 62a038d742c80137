package steering

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettle(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []time.Duration // when they come
		cancel time.Duration   // 0: never
		want   time.Duration
	}{
		{"nothing more", nil, 0, 50 * time.Millisecond},
		{"a few", []time.Duration{40 * time.Millisecond, 80 * time.Millisecond}, 0, 130 * time.Millisecond},
		{"a pause is enough", []time.Duration{60 * time.Millisecond}, 0, 50 * time.Millisecond},
		{"no end", every(10*time.Millisecond, 100), 0, 500 * time.Millisecond},
		{"the context ends", every(10*time.Millisecond, 100), 105 * time.Millisecond, 105 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				events := make(chan struct{}, 1)
				for _, at := range test.events {
					time.AfterFunc(at, func() {
						select {
						case events <- struct{}{}:
						default:
						}
					})
				}
				begin := time.Now()
				settle(ctx, events, 50*time.Millisecond, 500*time.Millisecond)
				if got := time.Since(begin); got != test.want {
					t.Errorf("settled after %v, want %v", got, test.want)
				}
			})
		})
	}
}

func every(step time.Duration, times int) []time.Duration {
	var all []time.Duration
	for i := range times {
		all = append(all, time.Duration(i+1)*step)
	}
	return all
}
