package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// The most that a logRing keeps.
const (
	ringLines = 2000
	ringBytes = 1 << 20
	ringLine  = 8 << 10 // of one line; what is longer is cut
)

// logRing is the end of the daemon's log, for whoever asks for it where the log
// itself cannot be had. Each Write is a line.
type logRing struct {
	mu      sync.Mutex
	lines   []string // from the oldest
	size    int      // of lines, in bytes
	dropped uint64   // lines that had to go
}

// Write implements io.Writer.
func (r *logRing) Write(line []byte) (int, error) {
	kept := string(bytes.TrimSuffix(line, []byte("\n")))
	if len(kept) > ringLine {
		kept = strings.ToValidUTF8(kept[:ringLine], "") + " (cut)"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, kept)
	r.size += len(kept) + 1
	for len(r.lines) > ringLines || r.size > ringBytes {
		r.size -= len(r.lines[0]) + 1
		r.lines = r.lines[1:]
		r.dropped++
	}
	return len(line), nil
}

// text is what is kept, the oldest line first, and how much is not.
func (r *logRing) text() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	if r.dropped > 0 {
		fmt.Fprintf(&b, "(%d older lines are not kept)\n", r.dropped)
	}
	for _, line := range r.lines {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

// handler keeps what is logged from level on, and from info on in any case. It
// repeats no value of a configuration file that it does not know: see valueless.
func (r *logRing) handler(level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(r, &slog.HandlerOptions{
		Level: atMost{level, slog.LevelInfo},
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if err, ok := a.Value.Any().(error); ok {
				a.Value = slog.StringValue(valueless(err))
			}
			return a
		},
	})
}

// atMost is a level that is never above limit.
type atMost struct {
	level slog.Leveler
	limit slog.Level
}

// Level implements slog.Leveler.
func (a atMost) Level() slog.Level { return min(a.level.Level(), a.limit) }

// valueless is the text of an error, but without what fields of a configuration
// file hold: an unknown one may be a secret that somebody put in the wrong place.
func valueless(err error) string {
	var in configError
	if !errors.As(err, &in) {
		return err.Error()
	}
	var lines []string
	for _, e := range configErrors(err) {
		lines = append(lines, e.valueless())
	}
	return strings.Join(lines, "\n")
}

// configErrors are all that err is made of.
func configErrors(err error) (found []configError) {
	switch e := err.(type) {
	case configError:
		return []configError{e}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			found = append(found, configErrors(one)...)
		}
	case interface{ Unwrap() error }:
		return configErrors(e.Unwrap())
	}
	return found
}

func (e configError) valueless() string {
	if e.Field == "" || strings.HasPrefix(e.Problem, unknownField) {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.Problem)
}
