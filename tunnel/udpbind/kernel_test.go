package udpbind_test

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/udpbind"
)

// refuse makes a system call fail with errno from now on, in all threads of
// this process, when an argument has a value: a kernel that cannot do it. It
// is for isolated tests.
func refuse(t *testing.T, call uint32, argument int, value uint32, errno unix.Errno) {
	t.Helper()
	const ret, jump, load = unix.BPF_RET | unix.BPF_K, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	// struct seccomp_data: the call's number, and arguments of 8 bytes from 16
	// on; little endian machines have the lower half first.
	filter := []unix.SockFilter{
		{Code: load, K: 0},
		{Code: jump, K: call, Jf: 3},
		{Code: load, K: uint32(16 + 8*argument)},
		{Code: jump, K: value, Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		privtest.Missing(t, fmt.Sprintf("this test needs seccomp filters: %v", errno))
	}
}

func TestHostWithoutIPv6(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	refuse(t, unix.SYS_SOCKET, 0, unix.AF_INET6, unix.EAFNOSUPPORT)
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	if r := a.Stats().Readers; len(r) != 1 || r[0].Network != "udp4" {
		t.Errorf("readers %+v, want one of udp4", r)
	}
	if err := a.Send(messages(80, 80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	b.expect(2)
	if err := a.Send(messages(80, 80, 80), b.at("::1")); err != nil {
		t.Errorf("send to IPv6: %v, want a drop", err)
	}
	want := map[tunnel.DropReason]uint64{udpbind.DropSendFamily: 3}
	if diff := cmp.Diff(want, nonZero(a.Stats().Drops)); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

// TestKernelThatRefusesTrains: a train is the one message of its sendmmsg, so
// refusing calls with one message refuses trains, and single datagrams too.
func TestKernelThatRefusesTrains(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	if diff := cmp.Diff([]string{"udp-gro", "udp-gso"}, a.Stats().Offloads); diff != "" {
		privtest.Missing(t, "this test needs a kernel with UDP offloads: "+diff)
	}
	refuse(t, unix.SYS_SENDMMSG, 2, 1, unix.EIO)
	want := messages(append(repeat(1452, 9), 80)...)
	for range 2 { // the second time nothing is tried in vain
		for _, address := range []string{"127.0.0.1", "::1"} {
			if err := a.Send(want, b.at(address)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, contents(b.expect(len(want)))); diff != "" {
				t.Errorf("messages (-sent +received):\n%s", diff)
			}
		}
		if diff := cmp.Diff([]string{"udp-gro"}, a.Stats().Offloads); diff != "" {
			t.Errorf("offloads (-want +got):\n%s", diff)
		}
	}
	if d := nonZero(a.Stats().Drops); len(d) > 0 {
		t.Errorf("drops %v", d)
	}
	if err := a.Send(messages(80), b.at("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	drops := map[tunnel.DropReason]uint64{udpbind.DropSendError: 1}
	if diff := cmp.Diff(drops, nonZero(a.Stats().Drops)); diff != "" {
		t.Errorf("drops of a datagram that is refused by itself (-want +got):\n%s", diff)
	}
}

// TestSmallPath: segments longer than the path's MTU go one by one, in IP
// fragments; other paths keep their trains.
func TestSmallPath(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	a, b := newEnd(t, udpbind.Options{}), newEnd(t, udpbind.Options{})
	ip(t, "link set lo mtu 1400")
	want := messages(repeat(1452, 20)...)
	for _, address := range []string{"127.0.0.1", "::1"} {
		to := b.at(address)
		for range 2 {
			if err := a.Send(want, to); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, contents(b.expect(len(want)))); diff != "" {
				t.Errorf("messages (-sent +received):\n%s", diff)
			}
		}
	}
	if d := nonZero(a.Stats().Drops); len(d) > 0 {
		t.Errorf("drops %v", d)
	}
	if diff := cmp.Diff([]string{"udp-gro", "udp-gso"}, a.Stats().Offloads); diff != "" {
		t.Errorf("offloads (-want +got):\n%s", diff)
	}
}

func TestNoAllocations(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	if raceDetector {
		t.Skip("the race detector empties sync.Pool at random")
	}
	// Neither end has readers of its own, whose buffers would count if they began late.
	var ends [2]*end
	var functions []conn.ReceiveFunc
	for i := range ends {
		ends[i] = &end{Bind: udpbind.New(udpbind.Options{}), t: t}
		t.Cleanup(func() { _ = ends[i].Shutdown() })
		var err error
		if functions, ends[i].port, err = ends[i].Open(0); err != nil {
			t.Fatal(err)
		}
	}
	a, b := ends[0], ends[1]
	packets, sizes, endpoints := buffers(b.BatchSize())
	to, want := b.at("127.0.0.1"), messages(append(repeat(1452, 20), repeat(80, 20)...)...)
	if n := testing.AllocsPerRun(200, func() {
		if err := a.Send(want, to); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(want); {
			n, err := functions[0](packets, sizes, endpoints)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}); n >= 1 {
		t.Errorf("%v allocations to send and receive %d datagrams, want none", n, len(want))
	}
}
