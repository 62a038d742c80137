package kube

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// demoted is a slog.Handler that takes what client-go logs as level debug: what of it
// matters is a Problem as well.
type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelDebug && d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

// clientLogger is where client-go logs to.
func (s *Source) clientLogger() klog.Logger {
	return logr.FromSlogHandler(demoted{s.log.Handler()})
}

// divertClientLog is for the few places in client-go that know no logger of their
// own: they would write to standard error.
func (s *Source) divertClientLog() { divert.Do(func() { klog.SetLogger(s.clientLogger()) }) }

var divert sync.Once
