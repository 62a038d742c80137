package steering

import (
	"testing"
	"time"
)

func TestPlaintext(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	passed := func(packets uint64) []Verdict {
		return []Verdict{{Verdict: "encrypt", Packets: 100 * packets}, {WouldDrop: true, Packets: packets}, {WouldDrop: true, Packets: 1}}
	}
	var p Plaintext
	for i, step := range []struct {
		strict  bool
		packets uint64
		want    Plaintext
	}{
		0:  {true, 4, Plaintext{Packets: 5}},
		1:  {false, 4, Plaintext{5, at(1)}}, // of an earlier time
		2:  {false, 4, Plaintext{5, at(1)}},
		3:  {false, 6, Plaintext{7, at(3)}},
		4:  {false, 6, Plaintext{7, at(3)}},
		5:  {true, 6, Plaintext{Packets: 7}},
		6:  {false, 6, Plaintext{7, at(6)}}, // nobody knows what would have come meanwhile
		7:  {false, 0, Plaintext{1, at(7)}}, // new maps
		8:  {false, 0, Plaintext{1, at(7)}},
		9:  {false, 1, Plaintext{2, at(9)}},
		10: {true, 1, Plaintext{Packets: 2}},
	} {
		p = p.next(step.strict, passed(step.packets), at(i))
		if p != step.want {
			t.Errorf("step %d: %+v, want %+v", i, p, step.want)
		}
	}
}
