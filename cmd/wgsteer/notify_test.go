package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
)

func TestStatusLine(t *testing.T) {
	peers := []dataplane.Peer{{LastHandshake: time.Unix(1, 0)}, {}}
	for want, s := range map[string]dataplane.Status{
		"ready, 1 of 2 peers connected":                          {State: dataplane.Ready, Ready: true, Peers: peers},
		"degraded, 1 of 2 peers connected: a fails (and 1 more)": {State: dataplane.Degraded, Ready: true, Peers: peers, Reasons: []string{"a fails", "b fails"}},
		"tunnelling: waiting for the tunnel device":              {State: dataplane.Tunnelling, Reasons: []string{"waiting for the tunnel device"}},
		"stopped: the data plane does not run (and 2 more)":      {State: dataplane.Stopped, Reasons: []string{"the data plane does not run", "x", "y"}},
		"checking": {State: dataplane.Checking},
	} {
		if got := statusLine(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStarted(t *testing.T) {
	for state, want := range map[dataplane.State]bool{
		dataplane.Stopped: false, dataplane.Checking: false, dataplane.Guarding: false, dataplane.Tunnelling: false,
		dataplane.Steering: true, dataplane.Ready: true, dataplane.Degraded: true,
	} {
		if got := started(dataplane.Status{State: state}); got != want {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
	}
}

// The watchdog is told three times in its time, and nothing is called ready
// that is not.
func TestNotifyWatchdog(t *testing.T) {
	d := stopped(t)
	synctest.Test(t, func(t *testing.T) {
		var told []string
		d.env.Notify = func(m string) error { told = append(told, m); return nil }
		d.env.Watchdog = func() (time.Duration, error) { return 150 * time.Millisecond, nil }
		ctx, cancel := context.WithTimeout(t.Context(), 1010*time.Millisecond)
		defer cancel()
		if err := d.notify(ctx); err != nil {
			t.Fatal(err)
		}
		beats := 0
		for _, m := range told {
			if m == "WATCHDOG=1" {
				beats++
			}
		}
		if beats != 21 { // at 0, 50, ... 1000 ms
			t.Errorf("%d signs of life in 1 s, want 21", beats)
		}
		if slices.Contains(told, "READY=1") || told[0] != "STATUS=stopped: the data plane does not run" || told[len(told)-1] != "STOPPING=1" {
			t.Errorf("told %q", told)
		}
	})
}

// A reload before the tunnel is up is made, and tells nobody that it is.
func TestHangupWhileStarting(t *testing.T) {
	for name, ready := range map[string]bool{"starting": false, "ready": true} {
		t.Run(name, func(t *testing.T) {
			d := stopped(t)
			d.ready.Store(ready)
			var told []string
			d.env.Notify = func(m string) error { told = append(told, m); return nil }
			hangups := make(chan os.Signal)
			before := d.configuration().Loaded
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- d.followHangups(ctx, hangups) }()
			hangups <- unix.SIGHUP
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if !d.configuration().Loaded.After(before) {
				t.Error("it was not reloaded")
			}
			if !ready && len(told) > 0 {
				t.Errorf("told %q", told)
			}
			if ready && (len(told) != 2 || !strings.HasPrefix(told[0], "RELOADING=1\n") || told[1] != "READY=1") {
				t.Errorf("told %q", told)
			}
		})
	}
}

func TestMonotonicNow(t *testing.T) {
	before := monotonicNow()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	if now := time.Duration(ts.Nano()); now < before || now-before > time.Minute {
		t.Errorf("monotonicNow is %s, the clock then %s", before, now)
	}
	if got := reloadingAt(1500 * time.Microsecond); got != "RELOADING=1\nMONOTONIC_USEC=1500" {
		t.Errorf("reloadingAt: %q", got)
	}
}

// What the process is told by its environment reaches the service manager.
func TestNotifySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")
	if err := osEnv().Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("received %q, %v", b[:n], err)
	}
	if d, err := osEnv().Watchdog(); d != 30*time.Second || err != nil {
		t.Errorf("watchdog %s, %v", d, err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := osEnv().Notify("READY=1"); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}

// The first signal stops what runs; a later one ends it even while it hangs,
// but not one that comes along with the first.
func TestSignals(t *testing.T) {
	for name, tt := range map[string]struct {
		takes   time.Duration   // the stop
		signals []time.Duration // when
		want    string
	}{
		"one":                  {3 * time.Second, []time.Duration{0}, "stopped"},
		"two at once":          {3 * time.Second, []time.Duration{0, 5 * time.Millisecond}, "stopped"},
		"two, and it hangs":    {time.Hour, []time.Duration{0, sameRequest}, "ended at once by a second signal"},
		"two at once, a third": {time.Hour, []time.Duration{0, 0, 2 * sameRequest}, "ended at once by a second signal"},
		"none, and it fails":   {0, nil, "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _, _ := testEnv()
				signals := make(chan os.Signal, 2)
				e.Signals = func(...os.Signal) (<-chan os.Signal, func()) { return signals, func() {} }
				for _, when := range tt.signals {
					time.AfterFunc(when, func() { signals <- unix.SIGTERM })
				}
				err := untilSignalled(t.Context(), e, slog.New(slog.DiscardHandler), func(ctx context.Context) error {
					if len(tt.signals) > 0 {
						<-ctx.Done()
					}
					time.Sleep(tt.takes)
					return errors.New("stopped")
				})
				if err == nil || err.Error() != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				time.Sleep(tt.takes) // what hangs would end with the process
			})
		})
	}
}

func TestWaiting(t *testing.T) {
	for name, tt := range map[string]struct {
		takes    time.Duration
		terminal bool
		want     string
	}{
		"quick":              {1900 * time.Millisecond, true, ""},
		"slow":               {5 * time.Second, false, "wgsteer: asking\n"},
		"slow on a terminal": {4500 * time.Millisecond, true, "\r\x1b[Kasking, 2 s\r\x1b[Kasking, 3 s\r\x1b[Kasking, 4 s\r\x1b[K"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _, stderr := testEnv()
				e.StderrTerminal = tt.terminal
				done := e.waiting("asking")
				time.Sleep(tt.takes)
				done()
				if got := stderr.String(); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}
