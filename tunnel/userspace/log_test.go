package userspace

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	now := epoch
	debug := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l := engineLogger(debug, func() time.Time { return now })
	for i := range 1000 {
		l.Verbosef("packet %d", i)
		l.Errorf("other")
		l.Errorf("%v", "an error of the UAPI, with a key")
	}
	now = now.Add(logPeriod)
	l.Verbosef("packet %s", "again")
	l.Verbosef("packet %d", 1000)
	if n := strings.Count(out.String(), "\n"); n != 2*logBurst+2 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	if !strings.Contains(out.String(), fmt.Sprintf(`"wireguard: packet 1000" suppressed=%d`, 1000-logBurst)) || strings.Contains(out.String(), "key") {
		t.Errorf("log:\n%s", out.String())
	}
}
