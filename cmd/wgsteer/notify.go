package main

import (
	"context"
	"fmt"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
)

const notifyReady = systemd.SdNotifyReady

// How often the service manager is told the status: while starting, and after.
const (
	notifyStarting = 100 * time.Millisecond
	notifyRunning  = 5 * time.Second
)

// notify keeps the service manager, if there is one, in the picture: READY
// once the guard and the tunnel are up, the status as a line of text, and a
// sign of life where it wants one. Each includes a look at the data plane's
// status, so that one that hangs gives no sign.
func (d *daemon) notify(ctx context.Context) error {
	watchdog, err := d.env.Watchdog()
	if err != nil {
		return fmt.Errorf("read the service manager's watchdog time: %w", err)
	}
	period, told := notifyStarting, ""
	for {
		status := d.plane.Status()
		if !d.ready.Load() && started(status) {
			period = notifyRunning
			d.tell(notifyReady)
			d.ready.Store(true)
		}
		if line := statusLine(status); line != told {
			told = line
			d.tell("STATUS=" + line)
		}
		if watchdog > 0 {
			period = min(period, watchdog/3)
			d.tell(systemd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			d.tell(systemd.SdNotifyStopping)
			return nil
		case <-time.After(period):
		}
	}
}

// tell sends a message to the service manager, if there is one.
func (d *daemon) tell(message string) {
	if err := d.env.Notify(message); err != nil {
		d.log.Warn("tell the service manager", "message", message, "error", err)
	}
}

// started reports whether the guard is in place and the tunnel up. Peers are
// not waited for: they may be waiting for this node.
func started(s dataplane.Status) bool {
	switch s.State {
	case dataplane.Steering, dataplane.Ready, dataplane.Degraded:
		return true
	}
	return false
}

// statusLine is a status in a line, as `systemctl status` shows it.
func statusLine(s dataplane.Status) string {
	line := string(s.State)
	if s.Ready {
		connected := 0
		for _, p := range s.Peers {
			if !p.LastHandshake.IsZero() {
				connected++
			}
		}
		line += fmt.Sprintf(", %d of %d peers connected", connected, len(s.Peers))
	}
	if len(s.Reasons) > 0 {
		line += ": " + s.Reasons[0]
	}
	if more := len(s.Reasons) - 1; more > 0 {
		line += fmt.Sprintf(" (and %d more)", more)
	}
	return line
}

// reloadingAt is the message that begins a reload; sd_notify(3) wants the time.
func reloadingAt(now time.Duration) string {
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, now.Microseconds())
}

// monotonicNow is CLOCK_MONOTONIC.
func monotonicNow() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("clock_gettime(CLOCK_MONOTONIC): " + err.Error()) // it cannot fail on Linux
	}
	return time.Duration(t.Nano())
}
