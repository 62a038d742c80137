package steering

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// someState has n peers with a pod CIDR and a node address of each family.
func someState(n int) State {
	s := State{
		LocalPodCIDRs: cidrs("10.128.0.0/24", "fd00:10::/64"),
		ClusterCIDRs:  cidrs("10.128.0.0/9", "fd00:10::/32"),
	}
	for i := range n {
		s.Peers = append(s.Peers, Peer{
			Name:     fmt.Sprintf("node-%d", i),
			PodCIDRs: cidrs(fmt.Sprintf("10.%d.%d.0/24", 129+i/256, i%256), fmt.Sprintf("fd00:10:1:%x::/64", i)),
			NodeIPs:  addrs(fmt.Sprintf("192.168.%d.%d", i/256, i%256), fmt.Sprintf("2001:db8::1:%x", i)),
		})
	}
	return s
}

func (s State) nft(devices ...int) nftTable {
	set := map[int]bool{}
	for _, d := range devices {
		set[d] = true
	}
	return nft(s.table(nil).prefixes, set, podDevicesOf("wg+1", s.PodDevices), s.Strict)
}

// nftTool calls nft(8), whose output it returns.
func nftTool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(privtest.Tool(t, "nft"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestNftSet: only what differs is written, and what others changed is found.
func TestNftSet(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	h := Options{Name: "wgt0"}.nft()
	disturbed := false
	set := func(want nftTable) int {
		t.Helper()
		changed, by, err := h.set(want)
		if err != nil {
			t.Fatal(err)
		}
		if by != disturbed {
			t.Errorf("changed by others: %v, want %v", by, disturbed)
		}
		if found, err := h.read(); err != nil || !found.whole() {
			t.Fatalf("after set: %+v, %v", found, err)
		}
		if again, by, err := h.set(want); again != 0 || by || err != nil {
			t.Errorf("a second time: changed %d, by others %v, %v", again, by, err)
		}
		return changed
	}
	strict := func(s State) State { s.Strict = true; return s }
	behind := func(s State, names ...string) State { s.PodDevices = names; return s }
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("device-%d*", i))
		}
		return names
	}
	wider := func(s State) State {
		s.LocalPodCIDRs = cidrs("10.128.0.0/23", "fd00:10::/64")
		return s
	}
	all := func(s State) State {
		s.ClusterCIDRs = cidrs("10.128.0.0/9", "224.0.0.0/3", "fd00:10::/32", "ff00::/8")
		return s
	}
	for _, step := range []struct {
		name string
		want nftTable
		n    int
	}{
		{"the first time", someState(0).nft(1, 2), 1},
		{"a device more", someState(0).nft(1, 2, 3), 1},
		{"a device for another", someState(0).nft(1, 2, 4), 2},
		{"500 peers", someState(500).nft(1, 2, 4), 1000},
		{"one more", someState(501).nft(1, 2, 4), 2},
		{"one of them less", someState(500).nft(1, 2, 4), 2},
		{"strict", strict(someState(500)).nft(1, 2, 4), 1},
		{"names of pods' devices", behind(strict(someState(500)), "cni0").nft(1, 2, 4), 1},
		{"others", behind(strict(someState(500)), "veth*").nft(1, 2, 4), 1},
		{"as many as can be", behind(strict(someState(500)), many(MaxPodDevices)...).nft(1, 2, 4), 1},
		{"none", strict(someState(500)).nft(1, 2, 4), 1},
		{"a wider local CIDR, so that a range gives way to one that overlaps it", wider(strict(someState(500))).nft(1, 2, 4), 4},
		{"up to the last addresses", all(wider(strict(someState(500)))).nft(1, 2, 4), 2},
		{"back", someState(0).nft(1), 1000 + 1 + 2 + 2 + 4},
	} {
		if got := set(step.want); got != step.n {
			t.Errorf("%s: %d changes, want %d", step.name, got, step.n)
		}
	}
	want := strict(someState(2)).nft(1, 2)
	set(want)
	disturbed = true
	for _, c := range []struct {
		change string
		n      int
	}{
		{"flush ruleset", 1},
		{"delete table inet wgsteer-wgt0", 1},
		{"flush table inet wgsteer-wgt0", 1},
		{"flush chain inet wgsteer-wgt0 unsteered_egress", 1},
		{"insert rule inet wgsteer-wgt0 unsteered_egress accept", 1},
		{"add chain inet wgsteer-wgt0 unsteered_egress { policy drop ; }", 1},
		{"delete chain inet wgsteer-wgt0 unsteered_ingress", 1},
		{"add set inet wgsteer-wgt0 more { type ipv4_addr ; }", 1},
		{"flush set inet wgsteer-wgt0 other_pods4", 1},
		{"add element inet wgsteer-wgt0 steered { 77 }", 1},
		{"add element inet wgsteer-wgt0 local_pods4 { 10.200.0.0/16, 10.202.0.0/16 }", 2},
		{"delete element inet wgsteer-wgt0 remote_nodes4 { 192.168.0.1 }", 1},
	} {
		nftTool(t, c.change)
		if got := set(want); got != c.n {
			t.Errorf("after nft %s: %d changes, want %d", c.change, got, c.n)
		}
	}
	// A table that is made anew is not told from one that was never changed.
	before := nftTool(t, "-s", "list", "table", "inet", "wgsteer-wgt0")
	nftTool(t, "flush ruleset")
	set(want)
	if after := nftTool(t, "-s", "list", "table", "inet", "wgsteer-wgt0"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestNftReads: what nft(8) lists can be read by people, and by itself.
func TestNftReads(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	h := Options{Name: "wg+1"}.nft()
	s := someState(2)
	s.Strict, s.NodeCIDRs, s.PodDevices = true, cidrs("172.16.0.0/12"), []string{"veth*", "cni0", "fifteen-letters", "seven-and-seve*"}
	if _, _, err := h.set(s.nft(1)); err != nil {
		t.Fatal(err)
	}
	text := nftTool(t, "-s", "list", "ruleset")
	for _, want := range []string{
		"table inet wgsteer-wg.2b1 {",
		`elements = { "lo" }`,
		"elements = { 10.128.1.0-10.255.255.255 }",
		"elements = { fd00:10:0:1::-fd00:10:ffff:ffff:ffff:ffff:ffff:ffff }",
		"elements = { 192.168.0.0, 192.168.0.1 }",
		"elements = { 172.16.0.0/12 }",
		"type filter hook postrouting priority 1000; policy accept;",
		"type filter hook prerouting priority raw - 10; policy accept;",
		`oif @steered accept comment "layout 3: the programs decide on these devices"`,
		`iifname "wg+1" oifname != "cni0" oifname != "fifteen-letters" oifname != "seven-and-seve*" oifname != "veth*" ip6 daddr @local_pods6 counter name "unsteered_egress_misrouted_drop" drop comment "out of the tunnel to a pod here, by a device that is none of podDevices; strict: dropped"`,
		`ip daddr @other_pods4 counter name "unsteered_egress_drop" drop comment "to a pod elsewhere, past the tunnel; strict: dropped"`,
		`ip6 saddr @remote_nodes6 ip6 daddr @local_pods6 counter name "unsteered_ingress_drop" drop comment "from another node to a pod here, past the tunnel; strict: dropped"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nft list ruleset does not say %q:\n%s", want, text)
		}
	}
	if found, err := h.read(); err != nil || !slices.Equal(found.patterns, []string{"cni0", "fifteen-letters", "seven-and-seve*", "veth*"}) {
		t.Errorf("read back: devices of pods %q, %v", found.patterns, err)
	}
	file := t.TempDir() + "/table"
	if err := exec.Command("sh", "-c", "nft -s list ruleset > "+file+" && nft flush ruleset && nft -f "+file).Run(); err != nil {
		t.Errorf("nft does not read what it lists: %v\n%s", err, text)
	}
	if changed, by, err := h.set(s.nft(1)); changed != 0 || by || err != nil {
		t.Errorf("the table that nft made of its own listing: changed %d, by others %v, %v", changed, by, err)
	}
}

// TestNftMissing: where the kernel refuses, the error names what it lacks.
func TestNftMissing(t *testing.T) {
	for _, test := range []struct {
		explained error
		want      string
		lacks     bool
	}{
		{explainNftRead(fmt.Errorf("receive: %w", unix.EINVAL)), "the kernel lacks nf_tables: CONFIG_NF_TABLES", true},
		{explainNftRead(unix.EPERM), "operation not permitted (CAP_NET_ADMIN is needed)", false},
		{explainNft(unix.ENOENT), "nft_objref", true},
		{explainNft(unix.ENOBUFS), "no buffer space available", false},
	} {
		if !strings.Contains(test.explained.Error(), test.want) || errors.Is(test.explained, errNoNftables) != test.lacks {
			t.Errorf("%q does not say %q, or not whether the kernel lacks it: %v", test.explained, test.want, test.lacks)
		}
	}
}
