package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
)

// objects are the maps and programs in the kernel. Maps that were pinned in a
// layout which the programs can use are those; the others are new and come to
// be pinned when the programs that use them are attached.
type objects struct {
	bpf.SteerObjects
	programs map[string]program
	unpinned map[string]*ebpf.Map // by the name of their pin to be
}

// program is a loaded one and its number, which takes the kernel long to tell.
type program struct {
	*ebpf.Program
	id ebpf.ProgramID
}

// requireBPFFS is an error that says how to mend it if dir is not below a
// mounted bpffs. Mounting one here would be worse than none: a private mount
// takes all pins with it when its namespace ends.
func requireBPFFS(dir string) error {
	at := dir
	for {
		var stat unix.Statfs_t
		err := unix.Statfs(at, &stat)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			at = filepath.Dir(at)
			continue
		}
		if err != nil {
			return fmt.Errorf("ask for the file system of %s: %w", at, err)
		}
		if stat.Type != unix.BPF_FS_MAGIC {
			return fmt.Errorf("%s is not on a bpffs: mount one on the host with `mount -t bpf bpf /sys/fs/bpf`, and in a container share the host's", dir)
		}
		return nil
	}
}

// openObjects loads the programs on the pinned maps, and on new ones where
// there are none or ones of another layout.
func openObjects(dir string) (*objects, error) {
	if err := requireBPFFS(dir); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadSteer()
	if err != nil {
		return nil, fmt.Errorf("read the eBPF programs: %w", err)
	}
	pinned := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range pinned {
			m.Close() // the collection has its own duplicate
		}
	}()
	for name, ms := range spec.Maps {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, "maps", name), nil)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("open pinned map %s in %s: %w", name, dir, err)
		case ms.Compatible(m) != nil:
			m.Close()
			continue
		}
		pinned[name] = m
	}
	o := &objects{unpinned: map[string]*ebpf.Map{}}
	err = spec.LoadAndAssign(&o.SteerObjects, &ebpf.CollectionOptions{MapReplacements: pinned})
	if err != nil {
		return nil, explainLoad(err)
	}
	for name, m := range o.maps() {
		if pinned[name] == nil {
			o.unpinned[name] = m
		}
	}
	if err := errors.Join(o.number(), o.mendPeers()); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// mendPeers makes the counters of named peers that have none: where only the
// layout of the counters changed, the names are older than they.
func (o *objects) mendPeers() error {
	names, err := o.readNames()
	if err != nil {
		return err
	}
	zero, err := zeroPeer()
	if err != nil {
		return err
	}
	for id, name := range names {
		err := o.Peers.Update(id, zero, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return tooMany("peer", name, o.Peers, err)
		}
	}
	return nil
}

// maps are all maps by the name of their pin.
func (o *objects) maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		bpf.SteerMapPeerNames: o.PeerNames,
		bpf.SteerMapPeers:     o.Peers,
		bpf.SteerMapPrefixes:  o.Prefixes,
		bpf.SteerMapSettings:  o.Settings,
		bpf.SteerMapVerdicts:  o.Verdicts,
	}
}

// pinMaps puts the maps that are not pinned in the place of those pinned under
// their names, atomically. It says how many.
func (o *objects) pinMaps(dir string) (int, error) {
	pinned := 0
	for name, m := range o.unpinned {
		final := filepath.Join(dir, "maps", name)
		if err := makePinsOf(dir, "maps"); err != nil {
			return pinned, err
		}
		aside := final + "-new"
		if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return pinned, fmt.Errorf("remove an unfinished pin: %w", err)
		}
		if err := pinClone(m, aside); err != nil {
			return pinned, fmt.Errorf("pin map %s: %w", name, err)
		}
		if err := os.Rename(aside, final); err != nil {
			return pinned, fmt.Errorf("pin map %s: %w", name, err)
		}
		delete(o.unpinned, name)
		pinned++
	}
	return pinned, nil
}

// pinClone pins m without m keeping account of the path.
func pinClone(m *ebpf.Map, path string) error {
	duplicate, err := m.Clone()
	if err != nil {
		return err
	}
	defer duplicate.Close()
	return duplicate.Pin(path)
}

// missPins finds the maps whose pins somebody removed.
func (o *objects) missPins(dir string) {
	for name, m := range o.maps() {
		if _, err := os.Lstat(filepath.Join(dir, "maps", name)); errors.Is(err, fs.ErrNotExist) {
			o.unpinned[name] = m
		}
	}
}

// intact says whether all pins are there.
func (o *objects) intact(dir string) bool {
	for name := range o.maps() {
		if _, err := os.Lstat(filepath.Join(dir, "maps", name)); err != nil {
			return false
		}
	}
	return true
}

// number asks for the programs' numbers.
func (o *objects) number() error {
	o.programs = map[string]program{}
	for name, p := range map[string]*ebpf.Program{
		bpf.SteerProgSteerL2:               o.SteerL2,
		bpf.SteerProgSteerL3:               o.SteerL3,
		bpf.SteerProgGuardEgressL2:         o.GuardEgressL2,
		bpf.SteerProgGuardEgressL3:         o.GuardEgressL3,
		bpf.SteerProgGuardIngressL2:        o.GuardIngressL2,
		bpf.SteerProgGuardIngressL3:        o.GuardIngressL3,
		bpf.SteerProgBackstopEgressL2:      o.BackstopEgressL2,
		bpf.SteerProgBackstopEgressL3:      o.BackstopEgressL3,
		bpf.SteerProgBackstopIngressL2:     o.BackstopIngressL2,
		bpf.SteerProgBackstopIngressL3:     o.BackstopIngressL3,
		bpf.SteerProgTunnelEgress:          o.TunnelEgress,
		bpf.SteerProgTunnelIngress:         o.TunnelIngress,
		bpf.SteerProgBackstopTunnelIngress: o.BackstopTunnelIngress,
	} {
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("ask for program %s: %w", name, err)
		}
		id, ok := info.ID()
		if !ok {
			return fmt.Errorf("ask for program %s: the kernel tells no number", name)
		}
		o.programs[name] = program{p, id}
	}
	return nil
}

// explainLoad says what is missing where the kernel refuses programs or maps.
func explainLoad(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		return fmt.Errorf("load the eBPF programs: the kernel's verifier refused one, which it does not from Linux 6.1 on: %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("load the eBPF programs: CAP_BPF and CAP_NET_ADMIN are needed: %w", err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("load the eBPF programs: the kernel lacks a part of BPF (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF; Linux 6.1 has all): %w", err)
	}
	return fmt.Errorf("load the eBPF programs: %w", err)
}
