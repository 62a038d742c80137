package main

import (
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

// A rotation that peers have not followed yet is told as one, never by the
// time that those which have needed.
func TestRotatedTable(t *testing.T) {
	rotation := func(before, after int, took time.Duration) rotated {
		return rotated{rotateReply{Rotation: dataplane.Rotation{PeersBefore: before, PeersAfter: after, Interruption: took}}, true, true}
	}
	for name, tt := range map[string]struct {
		rotated rotated
		want    string
	}{
		"all are back":        {rotation(2, 2, 1234567*time.Microsecond), "peers           2 of 2 that had a session have one with the new key\ninterruption    1.235s, until the last of them had shaken hands again\n"},
		"one is back":         {rotation(2, 1, time.Second), "peers           1 of 2 that had a session have one with the new key\ninterruption    not over after 30s\n"},
		"none is back":        {rotation(1, 0, 0), "peers           0 of 1 that had a session have one with the new key\ninterruption    not over after 30s\n"},
		"none had a session":  {rotation(0, 0, 0), "peers           0 of 0 that had a session have one with the new key\ninterruption    none: no peer had a session\n"},
		"no daemon":           {rotated{Republished: true}, "no daemon runs; this node's record has the new key, the daemon will start with it\n"},
		"no daemon or record": {rotated{}, "no daemon runs; the one that starts next publishes the new key\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := tt.rotated.table(&b, 30*time.Second); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(b.String(), "\n"+tt.want) || strings.Count(b.String(), "\n") != 2+strings.Count(tt.want, "\n") {
				t.Errorf("got\n%swant after two lines\n%s", b.String(), tt.want)
			}
		})
	}
}
