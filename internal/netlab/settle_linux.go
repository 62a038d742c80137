package netlab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settlesWithin bounds the wait for the kernel's work queues.
const settlesWithin = 30 * time.Second

// settle waits until all devices and addresses work. In work queues, the kernel
// notices a carrier, opens a bridge's port for it, and joins the multicast group
// by which neighbours find an IPv6 address; whoever asks earlier asks again a
// second later.
func (l *Lab) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settlesWithin)
	defer cancel()
	spaces := []Namespace{l.underlay}
	for _, n := range l.Nodes {
		spaces = append(spaces, n.Namespace)
		for _, p := range n.Pods {
			spaces = append(spaces, p.Namespace)
		}
	}
	for _, n := range spaces {
		if err := n.Do(func() error { return settled(ctx) }); err != nil {
			return fmt.Errorf("wait for %s: %w", n.Path, err)
		}
	}
	return nil
}

// settled waits for the namespace that it is called in.
func settled(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := unsettled()
		if err != nil || waiting == "" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", waiting, ctx.Err())
		}
	}
}

// unsettled names something that is not usable yet, "" when all is. Bridges do
// not count: they forward as soon as their ports do, and the kernel takes up to
// a second to call them up.
func unsettled() (string, error) {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return "the list of devices changes", nil
	}
	if err != nil {
		return "", fmt.Errorf("list devices: %w", err)
	}
	for _, l := range links {
		if a := l.Attrs(); l.Type() == "veth" && a.OperState != netlink.OperUp {
			return fmt.Sprintf("%s is %v", a.Name, a.OperState), nil
		}
	}
	addrs, err := netlink.AddrList(nil, unix.AF_INET6)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return "the list of addresses changes", nil
	}
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return fmt.Sprintf("%s is tentative", a.IP), nil
		}
	}
	return "", nil
}
