package userspace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/tunnel/tundev"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// The watch looks every watchEvery; a reader that had work all the while but
// did none for stuckAfter is stuck. It normally needs microseconds; seconds
// happen where a machine is paused or overloaded.
const (
	watchEvery = time.Second
	stuckAfter = 10 * time.Second
)

// progress notices when a reader that has work stands still.
type progress struct {
	count uint64
	since time.Time // when it last moved, or had nothing to do
}

// observe takes the reader's count and whether there is work for it; it
// returns for how long it has stood still.
func (p *progress) observe(now time.Time, count uint64, work bool) time.Duration {
	if count != p.count || !work || p.since.IsZero() {
		p.count, p.since = count, now
	}
	return now.Sub(p.since)
}

// watch keeps Stats().Failing true to what it sees until ctx ends.
func (t *Tunnel) watch(ctx context.Context, e *engine) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var reader progress
	for was := ""; ; {
		now := t.options.Now()
		var faults []string
		if err := t.keepUp(e); err != nil {
			faults = append(faults, err.Error())
		}
		if d := reader.observe(now, e.tun.Stats().Progress, e.tun.Pending()); d >= stuckAfter {
			faults = append(faults, fmt.Sprintf("the TUN reader has not read for %v, though packets wait", d.Round(time.Second)))
		}
		faults = append(faults, udpFaults(now, e.bind.Stats(), e.up.Load())...)
		is := strings.Join(faults, "; ")
		t.failing.Store(&is)
		if is != was {
			if is != "" {
				t.log.Warn("tunnel is failing", "reason", is)
			} else {
				t.log.Info("tunnel works again")
			}
			was = is
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keepUp looks at the link, and sets it up again where somebody set it down.
func (t *Tunnel) keepUp(e *engine) error {
	err := e.tun.Refresh()
	if !errors.Is(err, tundev.ErrDown) {
		return err
	}
	if t.options.Standalone { // its user may
		return nil
	}
	if err := e.tun.Up(); err != nil {
		return err
	}
	t.log.Warn("somebody set the tunnel device down; it is up again")
	return nil
}

// udpFaults says which UDP readers fail, stand still or, while the engine is
// up, are missing.
func udpFaults(now time.Time, s udpbind.Stats, up bool) []string {
	var faults []string
	open := 0
	for _, r := range s.Readers {
		if r.State != udpbind.ReaderClosed {
			open++
		}
		switch {
		case r.Failing:
			faults = append(faults, fmt.Sprintf("reading from %s fails: %s", r.Network, r.LastError))
		case r.State == udpbind.ReaderProcessing && now.Sub(r.Since) >= stuckAfter:
			faults = append(faults, fmt.Sprintf("the %s reader has not read for %v", r.Network, now.Sub(r.Since).Round(time.Second)))
		}
	}
	if up && open == 0 {
		faults = append(faults, "no UDP socket is open: the listen port was changed to one that another process has")
	}
	return faults
}
