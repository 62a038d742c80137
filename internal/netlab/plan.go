package netlab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
)

// Where labs are kept. Directories and namespaces carry the lab's name, so that
// what belongs to a lab can be found by name alone.
const (
	labsDir  = "/run/wgsteer-lab"   // a directory for each lab
	netnsDir = "/run/netns"         // as ip-netns(8) has it
	bpffs    = "/sys/fs/bpf"        // the host's
	uapiDir  = "/var/run/wireguard" // as wg(8) has it, shared by all namespaces
)

// Lab is a small cluster of network namespaces.
type Lab struct {
	Run      string // the lab's name
	Families []int  // 4, 6 or both, sorted
	Dir      string // everything of the lab in the file system, but the pins
	// Records is a directory that all nodes share; it exists while the lab is up.
	Records      string
	ClusterCIDRs []netip.Prefix // hold all pods' addresses, IPv4 first
	Nodes        []*Node

	options  Options
	underlay Namespace
	up       bool      // and this process's to take down
	guardian *guardian // nil unless this process owns the lab and has a reaper
}

// Node is a network namespace that stands for a host.
type Node struct {
	Namespace
	Name     string         // "node-a"
	IPs      []netip.Addr   // on the underlay, IPv4 first
	PodCIDRs []netip.Prefix // IPv4 first
	Pods     []*Pod

	// Interface is a name for a tunnel device that no other node of any lab has:
	// all namespaces share the directory of UAPI sockets.
	Interface string
	StateDir  string // exists while the lab is up, as the next two
	RunDir    string
	// BPFFS is a place for pins; its parent exists if the host has a bpffs.
	BPFFS string

	number int // among the lab's nodes, from 0
}

// Pod is a network namespace behind a node.
type Pod struct {
	Namespace
	Name string       // "pod-1"
	Node *Node        // where it runs
	IPs  []netip.Addr // IPv4 first
}

// FullName is the pod's name with its node's: "node-a/pod-1".
func (p *Pod) FullName() string { return p.Node.Name + "/" + p.Name }

// plan lays a lab out: names, addresses, places. The options are complete.
func plan(o Options) *Lab {
	l := &Lab{
		Run:      o.Run,
		Families: o.Families,
		options:  o,
		Dir:      filepath.Join(labsDir, o.Run),
		underlay: namespace(o.Run, "underlay"),
	}
	l.Records = filepath.Join(l.Dir, "records")
	l.ClusterCIDRs = l.ofFamilies(netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48"))
	for n := range o.Nodes {
		l.Nodes = append(l.Nodes, l.planNode(n))
	}
	return l
}

func (l *Lab) planNode(n int) *Node {
	letter := string(rune('a' + n))
	name := "node-" + letter
	node := &Node{
		Namespace: namespace(l.Run, name),
		Name:      name,
		number:    n,
		Interface: "wg-" + l.Run + "-" + letter,
		StateDir:  filepath.Join(l.Dir, name, "state"),
		RunDir:    filepath.Join(l.Dir, name, "run"),
		BPFFS:     filepath.Join(pinsDir(l.Run), name),
		PodCIDRs:  l.ofFamilies(podCIDR4(n), podCIDR6(n)),
	}
	for _, p := range l.ofFamilies(underlay4, underlay6) {
		node.IPs = append(node.IPs, host(p, n+1))
	}
	for p := range l.options.Pods {
		pod := &Pod{Name: fmt.Sprintf("pod-%d", p+1), Node: node}
		pod.Namespace = namespace(l.Run, name+"-"+pod.Name)
		for _, cidr := range node.PodCIDRs {
			pod.IPs = append(pod.IPs, host(cidr, p+2)) // 1 is the node's
		}
		node.Pods = append(node.Pods, pod)
	}
	return node
}

// The underlay: documentation prefixes, RFC 5737 and RFC 3849.
var (
	underlay4 = netip.MustParsePrefix("192.0.2.0/24")
	underlay6 = netip.MustParsePrefix("2001:db8:0:1::/64")
)

// gatewayHost is the underlay bridge's own host number.
const gatewayHost = 254

func podCIDR4(node int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(node + 1), 0}), 24)
}

func podCIDR6(node int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x10, 4: 0x02, 5: 0x44, 7: byte(node + 1)}), 64)
}

// host is the n-th address of a prefix, n below 256.
func host(p netip.Prefix, n int) netip.Addr {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		a[3] = byte(n)
		return netip.AddrFrom4(a)
	}
	a := p.Addr().As16()
	a[15] = byte(n)
	return netip.AddrFrom16(a)
}

// ofFamilies keeps the prefixes of the lab's families.
func (l *Lab) ofFamilies(prefixes ...netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(prefixes, func(p netip.Prefix) bool {
		return !slices.Contains(l.Families, family(p.Addr()))
	})
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// namespacePrefix begins the names of a lab's namespaces, and of no other's: a
// lab's name has no dash.
func namespacePrefix(run string) string { return "wgs-" + run + "-" }

func namespace(run, name string) Namespace {
	return Namespace{Run: run, Path: filepath.Join(netnsDir, namespacePrefix(run)+name)}
}

func pinsDir(run string) string { return filepath.Join(bpffs, "wgsteer-lab-"+run) }

// Endpoint is one end of a flow: a pod, a node itself, or the gateway.
type Endpoint struct {
	Namespace
	Name string // "node-a", "node-a/pod-1" or "gateway"
	IPs  []netip.Addr
}

// IP is the endpoint's address of a family.
func (e Endpoint) IP(of int) (netip.Addr, error) {
	for _, ip := range e.IPs {
		if family(ip) == of {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no IPv%d address", e.Name, of)
}

// gateway is the name of the underlay's gateway, whose namespace is the underlay's.
const gateway = "gateway"

// Find looks up a node ("node-a"), a pod ("node-a/pod-1"), or the underlay's
// gateway ("gateway"), which stands for the world outside the cluster.
func (l *Lab) Find(name string) (Endpoint, error) {
	if name == gateway {
		outside := Endpoint{Namespace: l.underlay, Name: name}
		for _, p := range l.ofFamilies(underlay4, underlay6) {
			outside.IPs = append(outside.IPs, host(p, gatewayHost))
		}
		return outside, nil
	}
	for _, n := range l.Nodes {
		if n.Name == name {
			return Endpoint{Namespace: n.Namespace, Name: name, IPs: n.IPs}, nil
		}
		for _, p := range n.Pods {
			if p.FullName() == name {
				return Endpoint{Namespace: p.Namespace, Name: name, IPs: p.IPs}, nil
			}
		}
	}
	last := l.Nodes[len(l.Nodes)-1]
	return Endpoint{}, fmt.Errorf("no node or pod %q in lab %s; it has gateway, node-a to %s, each with pod-1 to pod-%d (as in %s)",
		name, l.Run, last.Name, l.options.Pods, last.Pods[0].FullName())
}
