package udpbind_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// plainTrain is Train as its rules read: the longest prefix that keeps them all.
func plainTrain(lengths []int) int {
	allowed := func(n int) bool {
		sum := 0
		for i, l := range lengths[:n] {
			sum += l
			last := i == n-1
			switch {
			case i > 0 && l == 0, l > lengths[0], !last && l != lengths[0]:
				return false
			}
		}
		return n == 1 || n <= 64 && sum <= 65507
	}
	longest := 0
	for n := 1; n <= len(lengths); n++ {
		if allowed(n) {
			longest = n
		}
	}
	return longest
}

func checkTrain(t *testing.T, lengths []int) {
	t.Helper()
	var datagrams [][]byte
	for _, l := range lengths {
		datagrams = append(datagrams, make([]byte, l))
	}
	count, bytes := udpbind.Train(datagrams)
	if want := plainTrain(lengths); count != want {
		t.Fatalf("Train(%v) takes %d datagrams, want %d", lengths, count, want)
	}
	sum := 0
	for _, l := range lengths[:count] {
		sum += l
	}
	if bytes != sum {
		t.Fatalf("Train(%v) says %d bytes for %d datagrams, want %d", lengths, bytes, count, sum)
	}
	// What the receiver makes of it.
	if count > 1 && udpbind.Segments(bytes, lengths[0]) != count {
		t.Fatalf("a train of %d is split in %d", count, udpbind.Segments(bytes, lengths[0]))
	}
}

func TestTrainAgainstItsPlainTwin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sizes := []int{0, 32, 48, 80, 1023, 1024, 1452, 9000, 65507}
	for range 3000 {
		lengths := make([]int, random.IntN(140))
		size := sizes[random.IntN(len(sizes))]
		for i := range lengths {
			if random.IntN(20) == 0 {
				size = sizes[random.IntN(len(sizes))]
			}
			lengths[i] = size
		}
		checkTrain(t, lengths)
	}
}

func FuzzTrain(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 1, 0, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var lengths []int
		for ; len(data) >= 2 && len(lengths) < 200; data = data[2:] {
			lengths = append(lengths, int(binary.LittleEndian.Uint16(data)))
		}
		checkTrain(t, lengths)
	})
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		first [4]byte
		size  int
		want  string
	}{
		{[4]byte{1}, 148, "initiation"},
		{[4]byte{1}, 147, ""},
		{[4]byte{1}, 149, ""},
		{[4]byte{2}, 92, "response"},
		{[4]byte{2}, 91, ""},
		{[4]byte{3}, 64, "cookie reply"},
		{[4]byte{3}, 65, ""},
		{[4]byte{4}, 31, ""},
		{[4]byte{4}, 32, "keepalive"},
		{[4]byte{4}, 33, "transport"},
		{[4]byte{4}, 65507, "transport"},
		{[4]byte{4, 1}, 80, ""},
		{[4]byte{4, 0, 0, 1}, 80, ""},
		{[4]byte{5}, 80, ""},
		{[4]byte{0}, 80, ""},
		{[4]byte{}, 0, ""},
	} {
		m := make([]byte, c.size)
		copy(m, c.first[:])
		if got := udpbind.KindOf(m); got != c.want {
			t.Errorf("type %v of %d bytes is %q, want %q", c.first, c.size, got, c.want)
		}
	}
}

func TestRemedy(t *testing.T) {
	type result struct{ bare, sourced, train, both string }
	for err, want := range map[unix.Errno]result{
		unix.EINTR:         {"repeat", "repeat", "repeat", "repeat"},
		unix.EAGAIN:        {"wait for room", "wait for room", "wait for room", "wait for room"},
		unix.EINVAL:        {"give up", "forget source", "send plain", "forget source"},
		unix.ENETUNREACH:   {"give up", "forget source", "give up", "forget source"},
		unix.EADDRNOTAVAIL: {"give up", "forget source", "give up", "forget source"},
		unix.ENODEV:        {"give up", "forget source", "give up", "forget source"},
		unix.EIO:           {"give up", "give up", "send plain", "send plain"},
		unix.EMSGSIZE:      {"give up", "give up", "send plain", "send plain"},
		unix.EPERM:         {"give up", "give up", "give up", "give up"},
		unix.ENOBUFS:       {"give up", "give up", "give up", "give up"},
		unix.ECONNREFUSED:  {"give up", "give up", "give up", "give up"},
		unix.EHOSTUNREACH:  {"give up", "give up", "give up", "give up"},
	} {
		got := result{
			udpbind.RemedyFor(err, false, false), udpbind.RemedyFor(err, true, false),
			udpbind.RemedyFor(err, false, true), udpbind.RemedyFor(err, true, true),
		}
		if got != want {
			t.Errorf("%v: %+v, want %+v", err, got, want)
		}
	}
}

func TestSendReason(t *testing.T) {
	for err, want := range map[unix.Errno]tunnel.DropReason{
		unix.ENETUNREACH:  udpbind.DropSendUnreachable,
		unix.EHOSTUNREACH: udpbind.DropSendUnreachable,
		unix.ENETDOWN:     udpbind.DropSendUnreachable,
		unix.ECONNREFUSED: udpbind.DropSendRefused,
		unix.EPERM:        udpbind.DropSendForbidden,
		unix.EACCES:       udpbind.DropSendForbidden,
		unix.EAGAIN:       udpbind.DropSendBuffer,
		unix.ENOBUFS:      udpbind.DropSendBuffer,
		unix.EMSGSIZE:     udpbind.DropSendTooBig,
		unix.EINVAL:       udpbind.DropSendInvalid,
		unix.EIO:          udpbind.DropSendError,
	} {
		if got := udpbind.SendReason(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

func TestBackOff(t *testing.T) {
	var sum time.Duration
	for failures := 1; failures <= 1000; failures++ {
		d := udpbind.BackOff(failures)
		if d < udpbind.BackOff(failures-1) || d > time.Second {
			t.Fatalf("after %d failures: %v", failures, d)
		}
		if failures < 4 && d != 0 {
			t.Errorf("single failures wait %v", d)
		}
		sum += d
	}
	if sum < 900*time.Second {
		t.Errorf("1000 failures in a row take %v: that spins", sum)
	}
	if udpbind.BackOff(1<<62) != time.Second {
		t.Errorf("it overflows: %v", udpbind.BackOff(1<<62))
	}
}
