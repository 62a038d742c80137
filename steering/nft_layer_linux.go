package steering

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
)

// fence brings the nftables table to the state and the devices' attachments. A
// kernel that cannot have it is no failure of Apply, for all else stands: Status
// tells of it.
func (s *Steering) fence(net network, devices []Attachment) error {
	s.spared = nil
	steered := map[int]bool{}
	for _, d := range devices {
		if d.Error == "" && d.Index != 0 {
			steered[d.Index] = true
		}
	}
	if s.have == nil && s.state.Tunnel.Index == 0 {
		return errors.New("the nftables table stays as it is: what an earlier process knew could not be read")
	}
	spared := net.spared(steered)
	changed, disturbed, err := s.table.set(nft(s.classes(), spared, podDevicesOf(s.options.Name, s.state.PodDevices), s.state.Strict))
	if errors.Is(err, errNoNftables) {
		s.lack(layerTable, fmt.Errorf("devices that are not steered are unguarded: %w", err))
		return s.wrote(changed, nil)
	}
	if err == nil {
		s.spared = spared
		s.repairs.stand(part{layer: layerTable, name: s.table.String()}, disturbed, s.options.Now())
	}
	return s.wrote(changed, err)
}

// fenced says whether the table has its say on a device.
func (s *Steering) fenced(device int) bool { return s.spared != nil && !s.spared[device] }

// classes are those of all prefixes that the maps have in the end: without a
// tunnel, also of those that an earlier process knew.
func (s *Steering) classes() map[bpf.SteerPrefixKey]bpf.SteerPrefix {
	want := s.state.table(nil).prefixes
	if s.state.Tunnel.Index != 0 {
		return want
	}
	kept := maps.Clone(s.have.prefixes)
	maps.Copy(kept, want)
	return kept
}

// subscribeNft opens a socket that is told of changes of all tables.
func subscribeNft() (*nl.NetlinkSocket, error) {
	return nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
}

// concerns says whether an event is of our table: others change theirs all day.
// Of all objects the first attribute is the table's name.
func (h nftHost) concerns(m syscall.NetlinkMessage) bool {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < nl.SizeofNfgenmsg {
		return false
	}
	attributes, err := nl.ParseRouteAttr(m.Data[nl.SizeofNfgenmsg:])
	return err != nil || slices.ContainsFunc(attributes, func(a syscall.NetlinkRouteAttr) bool {
		return a.Attr.Type == unix.NFTA_TABLE_NAME && string(a.Value) == h.table.Name+"\x00"
	})
}

// nftRemnants is the table, if it is there.
func (o Options) nftRemnants() ([]remnant, error) {
	h := o.nft()
	found, err := h.read()
	if err != nil && !errors.Is(err, errNoNftables) {
		return nil, fmt.Errorf("look for nftables %v: %w", h, err)
	}
	if !found.exists {
		return nil, nil
	}
	return []remnant{{"nftables " + h.String(), h.remove}}, nil
}
