package userspace

import (
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

func TestProgress(t *testing.T) {
	var p progress
	for i, step := range []struct {
		after time.Duration
		count uint64
		work  bool
		want  time.Duration
	}{
		{0, 0, true, 0},
		{time.Second, 0, true, time.Second},
		{9 * time.Second, 0, true, 9 * time.Second},
		{10 * time.Second, 1, true, 0},
		{20 * time.Second, 1, false, 0},
		{21 * time.Second, 1, true, time.Second},
		{40 * time.Second, 2, true, 0},
		{55 * time.Second, 2, true, 15 * time.Second},
	} {
		if got := p.observe(epoch.Add(step.after), step.count, step.work); got != step.want {
			t.Errorf("step %d: stands still for %v, want %v", i, got, step.want)
		}
	}
}

func TestUDPFaults(t *testing.T) {
	reader := func(s udpbind.ReaderState, since time.Duration) udpbind.Reader {
		return udpbind.Reader{Network: "udp4", State: s, Since: epoch.Add(-since)}
	}
	failing := reader(udpbind.ReaderWaiting, 0)
	failing.Failing, failing.LastError = true, "input/output error"
	for name, tc := range map[string]struct {
		reader udpbind.Reader
		up     bool
		want   string
	}{
		"waits for long": {reader(udpbind.ReaderWaiting, time.Hour), true, ""},
		"busy":           {reader(udpbind.ReaderProcessing, 9*time.Second), true, ""},
		"stuck":          {reader(udpbind.ReaderProcessing, 11*time.Second), true, "the udp4 reader has not read for 11s"},
		"fails":          {failing, true, "reading from udp4 fails: input/output error"},
		"closed":         {reader(udpbind.ReaderClosed, time.Hour), true, "no UDP socket is open"},
		"not yet open":   {reader(udpbind.ReaderClosed, time.Hour), false, ""},
	} {
		got := strings.Join(udpFaults(epoch, udpbind.Stats{Readers: []udpbind.Reader{tc.reader}}, tc.up), "; ")
		if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
