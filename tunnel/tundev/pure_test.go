package tundev

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

func header(version, protocol byte, transport int) []byte {
	ip := 20
	if version == 6 {
		ip = 40
	}
	p := make([]byte, ip+transport)
	p[0] = version<<4 | 5
	if version == 6 {
		p[6] = protocol
	} else {
		p[9] = protocol
	}
	if protocol == unix.IPPROTO_TCP {
		p[ip+12] = byte(transport/4) << 4
	}
	return p
}

func TestWholeSize(t *testing.T) {
	for name, tc := range map[string]struct {
		first []byte
		sizes []int
		want  int
	}{
		"one":              {header(4, unix.IPPROTO_UDP, 8), []int{28}, 28},
		"one of no kind":   {[]byte{0}, []int{1}, 1},
		"TCP over IPv4":    {header(4, unix.IPPROTO_TCP, 32), []int{1052, 1052, 552}, 52 + 1000 + 1000 + 500},
		"TCP over IPv6":    {header(6, unix.IPPROTO_TCP, 20), []int{1060, 61}, 60 + 1001},
		"UDP over IPv6":    {header(6, unix.IPPROTO_UDP, 8), []int{148, 148}, 48 + 200},
		"IPv4 with option": {append([]byte{0x46}, header(4, unix.IPPROTO_UDP, 12)[1:]...), []int{132, 132}, 32 + 200},
	} {
		if got := wholeSize(tc.first, tc.sizes); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestOpenErrorSaysHowToMendIt(t *testing.T) {
	for errno, part := range map[syscall.Errno]string{
		syscall.ENOENT: "modprobe tun", syscall.ENODEV: "modprobe tun", syscall.EPERM: "10:200", syscall.EACCES: "run as root", syscall.EMFILE: cloneDevice,
	} {
		if err := openError(errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestReasons(t *testing.T) {
	path := func(e error) error { return &os.PathError{Op: "write", Path: "/dev/net/tun", Err: e} }
	nested := errors.Join(errors.Join(path(syscall.EIO), path(syscall.EINVAL)), path(syscall.ENOMEM))
	var got []tunnel.DropReason
	leaves(nested, func(e error) { got = append(got, writeReason(e)) })
	if d := cmp.Diff([]tunnel.DropReason{DropWriteDown, DropWriteInvalid, DropWriteMemory}, got); d != "" {
		t.Errorf("reasons (-want +got):\n%s", d)
	}
	for err, want := range map[error]tunnel.DropReason{
		os.ErrClosed: DropWriteClosed, path(syscall.EBADFD): DropWriteClosed, path(syscall.EPERM): DropWriteError, io.ErrShortBuffer: DropWriteError,
	} {
		if got := writeReason(err); got != want {
			t.Errorf("write %v: %s, want %s", err, got, want)
		}
	}
	for err, want := range map[error]tunnel.DropReason{
		path(syscall.EINVAL): DropReadError, io.ErrShortBuffer: DropReadMalformed,
	} {
		if got := readReason(err); got != want {
			t.Errorf("read %v: %s, want %s", err, got, want)
		}
	}
	drops := newDrops()
	for _, r := range Reasons() {
		drops.add(r, 1) // panics for one that has no counter
	}
}
