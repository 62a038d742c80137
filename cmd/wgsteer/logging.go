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

// logger logs to stderr as c and the environment say; its level may be changed.
func (e *env) logger(c logConfig) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(logLevel(c, e.Getenv))
	return newLogger(e.Stderr, c, level), level
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
