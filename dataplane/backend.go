package dataplane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
	"github.com/wgsteer/wgsteer/tunnel/userspace"
)

// ChooseBackend says which back end runs the tunnel here, Userspace or Kernel, where
// configured is what a Config has, and the reason for people. For Kernel and Auto it
// makes a WireGuard link of a name that nobody has and removes it. That the kernel
// cannot is an error where it is configured, and says how to mend it.
func ChooseBackend(configured Backend) (chosen Backend, reason string, err error) {
	var probed error
	if configured == Kernel || configured == Auto {
		probed = kernel.Probe()
	}
	return choose(configured, probed)
}

// choose is pure; probed is why the kernel cannot run a tunnel, nil where it can.
func choose(configured Backend, probed error) (chosen Backend, reason string, err error) {
	switch {
	case configured == Kernel && probed != nil:
		return "", "", fmt.Errorf("backend: kernel: %w", probed)
	case configured == Auto && probed == nil:
		return Kernel, "auto: the kernel has WireGuard", nil
	case configured == Auto:
		return Userspace, "auto: " + why(probed), nil
	}
	return configured, "configured", nil
}

// why is what is missing, on one line, without what to do about it.
func why(err error) string {
	if u, ok := errors.AsType[*kernel.Unavailable](err); ok {
		return u.Why()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// outlives reports whether the tunnel goes on without this process.
func (b Backend) outlives() bool { return b == Kernel }

// standing is the tunnel device that an earlier process left and that carries
// packets; the zero Link where there is none.
func standing(name string) (tunnel.Link, error) {
	link, up, err := kernel.Find(name)
	if err != nil || !up {
		return tunnel.Link{}, err
	}
	return link, nil
}

// chooseBackend settles it for the life of this process.
func (r *reconciler) chooseBackend() error {
	chosen, reason, err := ChooseBackend(r.config.Backend)
	if err != nil {
		return err
	}
	r.backend, r.backendReason = chosen, reason
	r.log.Info("backend", "backend", string(chosen), "reason", reason)
	r.show(func(v *view) { v.backend, v.backendReason = chosen, reason })
	return nil
}

// newTunnel makes the tunnel of the chosen back end. A link that an earlier process
// left to the kernel makes room for another back end's device; the guard stands.
func (r *reconciler) newTunnel() (tunnel.Tunnel, error) {
	if r.backend == Kernel {
		return kernel.New(kernel.Options{Interface: r.config.Interface, Logger: r.log})
	}
	removed, err := kernel.Remove(r.config.Interface)
	if err != nil {
		return nil, err
	}
	if removed {
		r.log.Info("removed the kernel's WireGuard link of an earlier run: another backend takes its place")
	}
	return userspace.New(userspace.Options{Interface: r.config.Interface, Logger: r.log})
}
