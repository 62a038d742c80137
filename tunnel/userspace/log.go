package userspace

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// Of each of its messages the engine may log logBurst in logPeriod; the rest
// are counted. It logs some of them for every packet.
const (
	logBurst  = 5
	logPeriod = time.Minute
	// logFormats bounds how many messages are told apart.
	logFormats = 256
)

// engineLogger maps the engine's logger to slog: its errors become warnings,
// for it goes on after each of them.
func engineLogger(log *slog.Logger, now func() time.Time) *device.Logger {
	l := &limiter{seen: make(map[string]*logged)}
	write := func(level slog.Level) func(string, ...any) {
		return func(format string, args ...any) {
			// "%v" alone is an error of the UAPI, which also goes back to whoever
			// asked, and may quote a key.
			if format == "%v" || !log.Enabled(context.Background(), level) {
				return
			}
			ok, suppressed := l.allow(format, now())
			if !ok {
				return
			}
			var attrs []any
			if suppressed > 0 {
				attrs = append(attrs, "suppressed", suppressed)
			}
			log.Log(context.Background(), level, "wireguard: "+fmt.Sprintf(format, args...), attrs...)
		}
	}
	return &device.Logger{Verbosef: write(slog.LevelDebug), Errorf: write(slog.LevelWarn)}
}

// limiter bounds how often each message is logged.
type limiter struct {
	mu   sync.Mutex // guards seen
	seen map[string]*logged
}

type logged struct {
	since      time.Time // when the period began
	count      int       // of this period
	suppressed int       // since the last one that was let through
}

// allow reports whether to log a message of this format now, and how many of
// it were not logged before.
func (l *limiter) allow(format string, now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.seen[format]
	if m == nil {
		if len(l.seen) >= logFormats {
			clear(l.seen)
		}
		m = &logged{since: now}
		l.seen[format] = m
	}
	if now.Sub(m.since) >= logPeriod {
		m.since, m.count = now, 0
	}
	if m.count >= logBurst {
		m.suppressed++
		return false, 0
	}
	m.count++
	suppressed, m.suppressed = m.suppressed, 0
	return true, suppressed
}
