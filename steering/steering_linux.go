package steering

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/wgsteer/wgsteer/bpf"
)

// Steering keeps the kernel as a State says. Its methods may be called
// concurrently.
type Steering struct {
	options Options
	host    host

	mu       sync.Mutex // guards all below: one reconciliation at a time
	state    *State     // nil before the first Apply
	objects  *objects   // nil before the first Apply, and after Close
	attacher *attacher
	have     *contents // what the maps hold; nil when they are to be read
	repairs  repairs
	table    nftHost
	lacks    map[string]string // why a layer cannot be had, see lack
	lacked   map[string]string // the same of the reconciliation before
	shown    Status            // without counters
	leaks    string            // see selection
	spared   map[int]bool      // devices that the nftables table leaves alone; nil: there is none
	uplinks  []Device          // as found last
	told     []Device          // what uplinks were when UplinksChanged was called last
	lock     *os.File          // while objects are open
	closed   bool

	routed map[routeKey]routeTarget // our routes as last wanted
}

// New validates options and does nothing else; on error the Steering is nil.
func New(options Options) (*Steering, error) {
	o, err := options.validated()
	if err != nil {
		return nil, err
	}
	return &Steering{options: o, host: host{o.RouteProtocol, o.RouteTable}, table: o.nft()}, nil
}

// Apply makes the kernel what state says, by the smallest change. It needs no
// Run. A state that is not valid changes nothing; after another error a part
// has changed, as much as could be done without opening a way for plaintext,
// and Run goes on trying. What cannot be had here at all, such as nf_tables or an entry
// for a prefix in a full map, is no error: Status tells.
//
// When it adds peers, the tunnel has to know them already; when it removes some,
// the tunnel still has to.
func (s *Steering) Apply(ctx context.Context, state State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := state.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("steering is closed")
	}
	s.state = state.clone()
	return s.reconcile()
}

// Close lets go of the kernel's objects. Programs, maps, routes and addresses
// stay, as the guard. It may be called twice; Apply fails from then on.
func (s *Steering) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.objects == nil {
		return nil
	}
	s.attacher.close()
	err := errors.Join(s.objects.Close(), s.lock.Close())
	s.objects = nil
	return err
}

// reconcile makes the kernel what s.state says and remembers how that went.
func (s *Steering) reconcile() error {
	s.repairs.begin()
	err := s.open()
	if err == nil {
		err = s.converge()
	}
	s.repairs.end(err != nil)
	s.tellRepairs()
	s.shown.Failing = ""
	if err != nil {
		s.shown.Failing = oneLine(err)
		s.have = nil
	}
	return err
}

// open loads programs and opens or makes maps, once, and sees that the lock is held.
func (s *Steering) open() error {
	if s.objects != nil {
		return s.relock()
	}
	lock, err := lockPins(s.options.pins(), lockWait)
	if err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return errors.Join(err, lock.Close())
	}
	s.lock = lock
	return nil
}

// load takes what is pinned, and makes the rest. The lock is held.
func (s *Steering) load() error {
	attacher, err := newAttacher(s.options)
	if err != nil {
		return err
	}
	if err := attacher.requireOwnNamespace(); err != nil {
		return err
	}
	_, strange, err := pinnedSlots(attacher.links)
	if err != nil {
		return err
	}
	for _, path := range strange {
		s.options.Logger.Warn("a pin is not wgsteer's, and left alone", "pin", path)
	}
	objects, err := openObjects(s.options.pins())
	if err != nil {
		return err
	}
	s.objects, s.attacher = objects, attacher
	return nil
}

// converge goes in the order in which plaintext has no way out at any moment:
// the classes before the programs that ask for them, the tunnel's programs
// before packets are sent there, routes after all of them. What fails is
// reported, and what does not depend on it done all the same.
func (s *Steering) converge() error {
	net, err := readNetwork(s.options.RouteProtocol)
	if err != nil {
		return err
	}
	s.lacked, s.lacks = s.lacks, map[string]string{}
	want := s.state.sought(s.options.Name)
	sel := net.find(want)
	if s.state.Strict {
		held, err := s.attacher.devices()
		if err != nil {
			return err
		}
		sel = sel.retain(net, held, want)
	}
	var errs []error
	anew := s.have == nil
	shrink, err := s.grow()
	errs = append(errs, err)
	effective := *s.state
	tunnel, err := s.tunnel(net)
	errs = append(errs, err)
	if tunnel.Error != "" || tunnel.Index == 0 {
		effective.Tunnel = Tunnel{}
	}
	devices, wanted, err := s.steerBy(effective.settings(), sel)
	errs = append(errs, err)
	if tunnel.MTU != 0 { // it exists
		for _, at := range tunnelAttachments(tunnel.Index, tunnel.Name) {
			wanted[at.slot] = true
		}
	}
	// A device is left to its programs when they are there, and not for longer.
	err = s.fence(net, append(devices, tunnel))
	if err == nil {
		err = s.wrote(s.attacher.keepOnly(wanted))
	}
	errs = append(errs, err)
	errs = append(errs, s.pinMaps())
	if shrink != nil {
		errs = append(errs, shrink())
	}
	errs = append(errs, s.routes(effective.routes()))
	s.show(devices, tunnel, sel.unsteerable)
	s.leaks, s.uplinks = sel.leaks(s.state.Strict, s.fenced), sel.uplinks()
	// A look at the counters is a system call for each: now and then, and when
	// the policy has become another.
	if anew || s.shown.Plaintext.Since.IsZero() != s.state.Strict {
		_, err = s.look()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// grow brings what is new into the maps, and returns what takes away the rest. Where some
// have no room, that is a lack, with which all others are as they should.
func (s *Steering) grow() (shrink func() error, err error) {
	if s.have == nil {
		have, err := s.objects.readContents()
		if err != nil {
			return nil, err
		}
		s.have = &have
	}
	want := s.state.table(s.have.names)
	guard := s.state.Tunnel.Index == 0
	if guard { // it takes away only what there is no room for
		want.keep(s.have.prefixes)
	}
	s.lack("prefixes", s.objects.leftOut(want.fit(int(s.objects.Prefixes.MaxEntries()), s.have.prefixes)))
	prefixes := diff(s.have.prefixes, want.prefixes, false)
	names := diff(s.have.names, want.names, guard)
	remove := func() error { return s.wrote(s.objects.shrink(names, prefixes)) }
	err = s.wrote(s.objects.grow(names, prefixes))
	if isFull(err) && len(prefixes.delete) > 0 {
		// No room for both, so what goes makes it, when all came that had room, in the
		// order of need. A pod counts as the cluster's then, as it does when it has gone.
		if err = remove(); err == nil {
			err = s.wrote(s.objects.grow(names, prefixes))
		}
	}
	if err != nil {
		return nil, err
	}
	names.applyPut(s.have.names)
	prefixes.applyPut(s.have.prefixes)
	return func() error {
		if err := remove(); err != nil {
			return err
		}
		names.applyDelete(s.have.names)
		prefixes.applyDelete(s.have.prefixes)
		return nil
	}, nil
}

// tunnel makes the tunnel device ready for packets in both directions. Its
// Attachment has an error when none may be sent there.
func (s *Steering) tunnel(net network) (Attachment, error) {
	index := s.state.Tunnel.Index
	if index == 0 {
		return Attachment{}, nil
	}
	shown := Attachment{Device: Device{Name: s.options.Name, Index: index, Reason: "tunnel"}}
	at := slices.IndexFunc(net.devices, func(d device) bool { return d.index == index })
	if at < 0 {
		shown.Error = "no such device"
		return shown, fmt.Errorf("tunnel device %s: there is no device with index %d", s.options.Name, index)
	}
	d := net.devices[at]
	shown.Name, shown.MTU, shown.Kind = d.name, d.mtu, d.kind
	errs := []error{s.addresses(index), s.wrote(setTunnelConf(index))}
	attachments := tunnelAttachments(index, d.name)
	for _, at := range attachments {
		if err := s.attach(at); err != nil {
			shown.Error = err.Error()
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.lead(attachments))
	shown.Mechanism = s.attacher.mechanism
	return shown, errors.Join(errs...)
}

// steerBy attaches to the devices to steer, and writes the settings. These come first,
// for the programs go by them; but where the tunnel goes, steer leaves to the guard what
// it redirected until then, and somebody may have taken that one away.
func (s *Steering) steerBy(settings bpf.SteerSettings, sel selection) ([]Attachment, map[slot]bool, error) {
	had, _ := s.objects.settings() // what fails here fails in set again
	goes := had.TunnelIfindex != 0 && settings.TunnelIfindex == 0
	var before, after error
	if !goes {
		before = s.wrote(s.objects.set(settings))
	}
	devices, wanted, err := s.steer(sel)
	if goes {
		after = s.wrote(s.objects.set(settings))
	}
	return devices, wanted, errors.Join(before, err, after)
}

// steer attaches to the devices to steer; the hooks are those that belong to
// them, attached or not.
func (s *Steering) steer(sel selection) ([]Attachment, map[slot]bool, error) {
	var shown []Attachment
	var errs []error
	wanted := map[slot]bool{}
	for _, t := range sel.targets {
		a := Attachment{Device: t.Device}
		var failed []error
		for _, at := range t.attachments() {
			wanted[at.slot] = true
			failed = append(failed, s.attach(at))
		}
		failed = append(failed, s.lead(t.attachments()))
		if err := errors.Join(failed...); err != nil {
			a.Error = oneLine(err)
			errs = append(errs, err)
		}
		a.Mechanism = s.attacher.mechanism
		shown = append(shown, a)
	}
	for _, name := range sel.missing {
		shown = append(shown, Attachment{Device: Device{Name: name, Reason: "named in the configuration"}, Error: "no such device yet"})
	}
	return shown, wanted, errors.Join(errs...)
}

// wrote counts what was changed, and passes on the error.
func (s *Steering) wrote(changed int, err error) error {
	s.shown.Changes += uint64(changed)
	return err
}
