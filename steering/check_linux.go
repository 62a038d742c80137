package steering

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/bpf"
)

// Check says what of this host lets steering work, and what does not. It
// attaches and pins nothing. Where pins are, devices are judged by the pods and
// peers that they know of.
func Check(options Options) []Finding {
	o, err := options.validated()
	if err != nil {
		return []Finding{{Name: "options", Level: Fail, Detail: oneLine(err), Mend: "mend the configuration"}}
	}
	found := []Finding{checkKernel(), checkCapabilities(), checkBPFFS(o)}
	found = append(found, checkPrograms()...)
	found = append(found, checkNft(o), checkForwarding())
	return append(found, checkDevices(o)...)
}

func checkKernel() Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return failed("kernel", fmt.Errorf("ask for the kernel's version: %w", err))
	}
	return judgeKernel(unix.ByteSliceToString(name.Release[:]))
}

func checkCapabilities() Finding {
	var data [2]unix.CapUserData // 64 bits, in two halves
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return failed("capabilities", fmt.Errorf("ask for the capabilities: %w", err))
	}
	return judgeCapabilities(uint64(data[1].Effective)<<32 | uint64(data[0].Effective))
}

func checkBPFFS(o Options) Finding {
	if err := requireBPFFS(o.BPFFS); err != nil {
		return Finding{Name: "bpffs", Level: Fail, Detail: err.Error(), Mend: "mount -t bpf bpf /sys/fs/bpf"}
	}
	return Finding{Name: "bpffs", Level: OK, Detail: o.BPFFS + " is on a bpffs"}
}

// checkPrograms loads the programs, and asks for tcx with one of them on a
// device that cannot be: what the kernel objects to tells.
func checkPrograms() []Finding {
	var objects bpf.SteerObjects
	if err := bpf.LoadSteerObjects(&objects, nil); err != nil {
		f := failed("bpf", explainLoad(err))
		f.Mend = "use a kernel with BPF (Linux 6.1 or newer), and give CAP_BPF and CAP_NET_ADMIN"
		return []Finding{f}
	}
	defer objects.Close()
	found := []Finding{{Name: "bpf", Level: OK, Detail: "the kernel takes the programs"}}
	l, err := link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: objects.GuardEgressL2, Attach: ebpf.AttachTCXEgress})
	switch {
	case err == nil:
		return append(found, failed("tcx", errors.Join(errors.New("there is a device of the greatest number there is"), l.Close())))
	case errors.Is(err, ebpf.ErrNotSupported):
		return append(found, Finding{
			Name: "tcx", Level: Warn, Detail: "the kernel has no tcx; clsact filters are used, which whoever deletes the qdisc takes away until they are put back",
			Mend: "use Linux 6.6 or newer",
		})
	case errors.Is(err, unix.ENODEV):
		return append(found, Finding{Name: "tcx", Level: OK, Detail: "the kernel has tcx"})
	}
	return append(found, failed("tcx", fmt.Errorf("ask for tcx: %w", err)))
}

func checkForwarding() Finding {
	const path = "/proc/sys/net/ipv4/ip_forward"
	text, err := os.ReadFile(path)
	if err != nil {
		return failed("forwarding", err)
	}
	if strings.TrimSpace(string(text)) == "0" {
		return Finding{
			Name: "forwarding", Level: Warn, Detail: "the node does not forward packets: none comes from its pods, nor to them",
			Mend: "sysctl -w net.ipv4.ip_forward=1 (and net.ipv6.conf.all.forwarding=1)",
		}
	}
	return Finding{Name: "forwarding", Level: OK, Detail: "the node forwards packets"}
}

// checkDevices judges the devices, and who else is on them.
func checkDevices(o Options) []Finding {
	net, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return []Finding{failed("devices", err)}
	}
	want, err := pinnedSought(o)
	if err != nil {
		return []Finding{failed("devices", err)}
	}
	sel := net.find(want)
	found := judgeDevices(sel)
	for _, t := range sel.targets {
		for _, h := range []hook{{t.Index, false}, {t.Index, true}} {
			ahead, err := foreignAhead(o, h)
			if err != nil {
				found = append(found, failed("foreign-programs", err))
			}
			found = append(found, judgeForeign(h, t.Name, ahead)...)
		}
	}
	return append(found, checkLayers(o, net, sel)...)
}

// pinnedSought is what the pinned table of prefixes knows of pods and peers.
func pinnedSought(o Options) (sought, error) {
	want := sought{tunnel: o.Name}
	m, err := ebpf.LoadPinnedMap(filepath.Join(o.pins(), "maps", bpf.SteerMapPrefixes), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return want, nil
	}
	if err != nil {
		return want, fmt.Errorf("open the pinned prefixes: %w", err)
	}
	defer m.Close()
	prefixes, err := readMap[bpf.SteerPrefixKey, bpf.SteerPrefix](m)
	state := scene{contents: contents{prefixes: prefixes}}.state()
	want.local, want.cluster = state.LocalPodCIDRs, state.ClusterCIDRs
	for _, p := range state.Peers {
		want.remote = append(want.remote, p.PodCIDRs...)
		want.endpoints = append(want.endpoints, p.NodeIPs...)
	}
	return want, err
}

// foreignAhead names the programs that see packets before the last of ours does;
// none where ours are not attached. All of tcx comes before all of clsact.
func foreignAhead(o Options, h hook) ([]string, error) {
	own, err := pinnedLinks(o, h)
	if err != nil {
		return nil, err
	}
	programs, err := tcxChain(h, own)
	if err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) { // before Linux 6.6
		return nil, err
	}
	if slices.Contains(programs, "") {
		return beforeLastOfOurs(programs), nil
	}
	filters, err := filterChain(h, filterOwner(o.Name))
	return beforeLastOfOurs(append(programs, filters...)), err
}

// tcxChain are the programs of a hook's tcx by name, "" for those of the links in own.
func tcxChain(h hook, own map[link.ID]bool) (programs []string, err error) {
	chain, err := link.QueryPrograms(link.QueryOptions{Target: h.device, Attach: h.attachType()})
	if err != nil {
		return nil, fmt.Errorf("list the tcx programs of device %d: %w", h.device, err)
	}
	for _, p := range chain.Programs {
		name := ""
		if id, ok := p.LinkID(); !ok || !own[id] {
			name = programName(p.ID)
		}
		programs = append(programs, name)
	}
	return programs, nil
}

// pinnedLinks are the ids of our links on a hook.
func pinnedLinks(o Options, h hook) (map[link.ID]bool, error) {
	dir := o.links()
	slots, _, err := pinnedSlots(dir)
	if err != nil {
		return nil, err
	}
	ids := map[link.ID]bool{}
	for _, s := range slots {
		if s.hook != h {
			continue
		}
		l, err := link.LoadPinnedLink(filepath.Join(dir, s.pin()), nil)
		if err != nil {
			return nil, fmt.Errorf("open pinned link %s: %w", s.pin(), err)
		}
		info, err := l.Info()
		if err := errors.Join(err, l.Close()); err != nil {
			return nil, fmt.Errorf("ask for pinned link %s: %w", s.pin(), err)
		}
		ids[info.ID] = true
	}
	return ids, nil
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return fmt.Sprintf("program %d", id)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return fmt.Sprintf("program %d", id)
	}
	return fmt.Sprintf("%s (program %d)", info.Name, id)
}

// failed is the Finding of a check that could not be made, or failed.
func failed(name string, err error) Finding {
	return Finding{Name: name, Level: Fail, Detail: oneLine(err), Mend: "run as root in the host's network namespace"}
}
