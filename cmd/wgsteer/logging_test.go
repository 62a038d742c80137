package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLogLevel(t *testing.T) {
	for env, want := range map[string]slog.Level{
		"": slog.LevelWarn, "verbose": slog.LevelDebug, "debug": slog.LevelDebug, "error": slog.LevelError, "silent": silent, "nonsense": slog.LevelWarn,
	} {
		got := logLevel(logConfig{Level: slog.LevelWarn}, func(string) string { return env })
		if got != want {
			t.Errorf("LOG_LEVEL=%s: %s, want %s", env, got, want)
		}
	}
}

func TestLogFormat(t *testing.T) {
	for begin, asJSON := range map[string]bool{`{"time":`: true, "time=": false} {
		var b strings.Builder
		log := newLogger(&b, logConfig{JSON: asJSON}, slog.LevelInfo)
		log.Debug("hidden")
		log.Info("shown", "key", 1)
		if !strings.HasPrefix(b.String(), begin) || strings.Contains(b.String(), "hidden") || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%q, want one line from %s", b.String(), begin)
		}
	}
}

func TestColours(t *testing.T) {
	for name, tt := range map[string]struct {
		terminal bool
		env      map[string]string
		want     bool
	}{
		"terminal":      {true, nil, true},
		"pipe":          {false, nil, false},
		"NO_COLOR":      {true, map[string]string{"NO_COLOR": "1"}, false},
		"dumb terminal": {true, map[string]string{"TERM": "dumb"}, false},
	} {
		e, _, _ := testEnv()
		e.StdoutTerminal = tt.terminal
		e.Getenv = func(name string) string { return tt.env[name] }
		if got := e.colours(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
