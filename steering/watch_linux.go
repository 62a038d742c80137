package steering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/background"
)

const (
	quiet      = 50 * time.Millisecond  // events come in crowds: wait until they pause
	mostQuiet  = 500 * time.Millisecond // but no longer than this
	retryAfter = 2 * time.Second        // while something fails
	lookEvery  = time.Second            // for what sends no event when it goes: see intact
)

// Run follows the devices, routes, addresses and filters of this network
// namespace, and our nftables table, and applies the last State again when
// something happens to them or a while has passed. It returns nil when ctx ends,
// and leaves all in place.
func (s *Steering) Run(ctx context.Context) error {
	socket, err := subscribe()
	if err != nil {
		return err
	}
	events := make(chan struct{}, 1)
	failed := make(chan error, 1)
	var readers sync.WaitGroup
	readers.Go(func() {
		background.Thread() // packets go first
		failed <- receive(ctx, socket, s.news, events)
	})
	defer readers.Wait()
	defer socket.Close()
	// Without nf_tables there is nothing to follow; what that means for the table is
	// reported when it is set.
	if rules, err := subscribeNft(); err == nil {
		readers.Go(func() {
			background.Thread()
			s.followTable(ctx, rules, events)
		})
		defer rules.Close()
	}
	for {
		s.again()
		s.tell()
		err := s.wait(ctx, events, failed)
		if ctx.Err() != nil || err != nil {
			return err
		}
	}
}

// wait returns when there is cause to look at everything.
func (s *Steering) wait(ctx context.Context, events <-chan struct{}, failed <-chan error) error {
	full := time.NewTimer(s.nextLook())
	defer full.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-events:
			s.again() // a new uplink must not wait until the crowd has passed
			s.tell()
			settle(ctx, events, quiet, mostQuiet)
			return nil
		case <-full.C:
			s.forget()
			return nil
		case <-look.C:
			if !s.intact() {
				return nil
			}
		}
	}
}

// subscribe opens a socket that is told of all that steering depends on.
func subscribe() (*nl.NetlinkSocket, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_TC,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("follow network events: %w", err)
	}
	return socket, nil
}

// receive tells events of each message, or crowd of them, that is news, until ctx
// ends or the socket is closed.
func receive(ctx context.Context, socket *nl.NetlinkSocket, news func([]syscall.NetlinkMessage) bool, events chan<- struct{}) error {
	for {
		messages, _, err := socket.Receive()
		if ctx.Err() != nil {
			return nil
		}
		// ENOBUFS says that events were lost, which is an event.
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("follow network events: %w", err)
		}
		if err == nil && !news(messages) {
			continue
		}
		select {
		case events <- struct{}{}:
		default:
		}
	}
}

// followTable receives events of our nftables table. The socket hears of everyone's;
// should it fail, the table is looked at with everything else.
func (s *Steering) followTable(ctx context.Context, socket *nl.NetlinkSocket, events chan<- struct{}) {
	if err := receive(ctx, socket, s.tableNews, events); err != nil {
		s.options.Logger.Warn("nftables events are followed no longer", "error", err, "lookedAtEvery", s.options.VerifyEvery)
	}
}

// news says whether messages tell of anything but our own routes as we want them.
func (s *Steering) news(messages []syscall.NetlinkMessage) bool {
	s.mu.Lock() // what we do now is known when it is done
	defer s.mu.Unlock()
	return slices.ContainsFunc(messages, func(m syscall.NetlinkMessage) bool {
		e, ours := s.host.routeEvent(m)
		return !ours || !e.echoes(s.routed)
	})
}

// tableNews says whether messages tell of our nftables table, and that is not as we
// made it.
func (s *Steering) tableNews(messages []syscall.NetlinkMessage) bool {
	if !slices.ContainsFunc(messages, s.options.nft().concerns) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.disturbed()
}

// settle waits until no event came for quiet, but no longer than most, nor than
// ctx lasts.
func settle(ctx context.Context, events <-chan struct{}, quiet, most time.Duration) {
	last := time.NewTimer(most)
	defer last.Stop()
	for {
		pause := time.NewTimer(quiet)
		select {
		case <-ctx.Done():
		case <-last.C:
		case <-pause.C:
		case <-events:
			pause.Stop()
			continue
		}
		pause.Stop()
		return
	}
}

// again applies the last State anew, if there is one, and logs when that begins
// to fail otherwise than before.
func (s *Steering) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil || s.closed {
		return
	}
	before := s.shown.Failing
	if err := s.reconcile(); err != nil && oneLine(err) != before {
		s.options.Logger.Error("steering is not as it should be", "error", oneLine(err))
	} else if err == nil && before != "" {
		s.options.Logger.Info("steering is as it should be again")
	}
}

// intact says whether lock, links and pins are as they were left: the kernel tells nobody
// when one is detached or removed, or another put ahead. It costs some system calls for each.
func (s *Steering) intact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		return true
	}
	return locks(s.lock, s.options.pins()) && s.attacher.intact() && !s.attacher.overtaken() && s.objects.intact(s.options.pins())
}

// tell calls UplinksChanged if they have.
func (s *Steering) tell() {
	s.mu.Lock()
	changed := !slices.Equal(s.uplinks, s.told)
	s.told = s.uplinks
	s.mu.Unlock()
	if changed {
		s.options.UplinksChanged()
	}
}

// forget has maps and table read anew the next time.
func (s *Steering) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have, s.table.at = nil, 0
}

func (s *Steering) nextLook() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown.Failing != "" {
		return min(retryAfter, s.options.VerifyEvery)
	}
	return s.options.VerifyEvery
}
