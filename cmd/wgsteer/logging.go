package main

import (
	"io"
	"log/slog"
	"math"
)

// silent is above every level there is.
const silent = slog.Level(math.MaxInt)

// newLogger logs to w. The level may be changed while it is used.
func newLogger(w io.Writer, c logConfig, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// journal is a log on stderr, and its end in memory.
type journal struct {
	*slog.Logger
	level *slog.LevelVar // of both
	ring  *logRing
}

// journal logs as c and the environment say.
func (e *env) journal(c logConfig) journal {
	j := journal{level: new(slog.LevelVar), ring: new(logRing)}
	j.level.Set(logLevel(c, e.Getenv))
	j.Logger = slog.New(slog.NewMultiHandler(newLogger(e.Stderr, c, j.level).Handler(), j.ring.handler(j.level)))
	return j
}

// logLevel is the configured level, or what LOG_LEVEL says; its values are
// wireguard-go's.
func logLevel(c logConfig, getenv func(string) string) slog.Level {
	switch getenv("LOG_LEVEL") {
	case "verbose", "debug":
		return slog.LevelDebug
	case "error":
		return slog.LevelError
	case "silent":
		return silent
	}
	return c.Level
}
