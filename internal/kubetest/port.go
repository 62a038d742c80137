package kubetest

import (
	"fmt"
	"os"
	"syscall"
)

// port is a TCP port of this network namespace that is kept for a server: as long as it
// is bound here, the kernel gives it to nobody who asks for any port, to listen or to
// connect. The server may bind it all the same, since it sets SO_REUSEADDR, as all of
// Go's listeners do, and this socket does too and does not listen (inet_bind_conflict in
// net/ipv4/inet_connection_sock.c).
type port struct {
	number int
	socket int
}

// keepPort binds one that nobody has.
func keepPort() (p port, err error) {
	p.socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return p, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if err := syscall.SetsockoptInt(p.socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return p, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(p.socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return p, os.NewSyscallError("bind", err)
	}
	at, err := syscall.Getsockname(p.socket)
	if err != nil {
		return p, os.NewSyscallError("getsockname", err)
	}
	in, ok := at.(*syscall.SockaddrInet4)
	if !ok {
		return p, fmt.Errorf("getsockname: %T", at)
	}
	p.number = in.Port
	return p, nil
}

func (p port) release() { _ = syscall.Close(p.socket) }
