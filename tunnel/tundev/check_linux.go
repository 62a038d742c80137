package tundev

import (
	"errors"
	"fmt"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
)

// Check says why a TUN cannot be opened here and how to mend it; nil when
// nothing speaks against it. It changes nothing.
func Check() error {
	fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return openError(err)
	}
	unix.Close(fd)
	return checkCapability()
}

// openError explains why the clone device could not be opened.
func openError(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("open %s: %w; load the driver with: modprobe tun; in a container, give it the device too", cloneDevice, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("open %s: %w; this kernel has no TUN driver loaded: modprobe tun", cloneDevice, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("open %s: %w; run as root, and in a container allow the device (character device 10:200)", cloneDevice, err)
	default:
		return fmt.Errorf("open %s: %w", cloneDevice, err)
	}
}

// checkCapability fails when this process lacks CAP_NET_ADMIN.
func checkCapability() error {
	caps, err := capability.NewPid2(0)
	if err == nil {
		err = caps.Load()
	}
	if err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	if !caps.Get(capability.EFFECTIVE, capability.CAP_NET_ADMIN) {
		return errors.New("this process lacks CAP_NET_ADMIN, which creating a TUN needs; run it as root, or give it the capability (systemd: AmbientCapabilities=CAP_NET_ADMIN; Kubernetes: securityContext.capabilities.add)")
	}
	return nil
}
