package steering

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
)

// classesOf reads lines of a prefix and a class: L(ocal pod), R(emote pod),
// N (remote node) or C(luster).
func classesOf(t *testing.T, text string) map[netip.Prefix]bpf.Class {
	t.Helper()
	classes := map[netip.Prefix]bpf.Class{}
	letters := map[string]bpf.Class{"L": bpf.ClassLocalPod, "R": bpf.ClassRemotePod, "N": bpf.ClassRemoteNode, "C": bpf.ClassCluster}
	for entry := range strings.SplitSeq(text, ",") {
		prefix, class, _ := strings.Cut(strings.TrimSpace(entry), " ")
		if letters[class] == bpf.ClassNone {
			t.Fatalf("%q is not a prefix and a class", entry)
		}
		classes[netip.MustParsePrefix(prefix)] = letters[class]
	}
	return classes
}

func rangesText(ranges []addrRange) string {
	var texts []string
	for _, r := range ranges {
		texts = append(texts, r.from.String()+"-"+r.to.String())
	}
	return strings.Join(texts, " ")
}

func TestRangesOf(t *testing.T) {
	for _, test := range []struct{ name, classes, want string }{
		{"one", "10.0.0.0/8 C", "10.0.0.0-10.255.255.255"},
		{"without the local one", "10.244.0.0/16 C, 10.244.1.0/24 L", "10.244.0.0-10.244.0.255 10.244.2.0-10.244.255.255"},
		{"the local one first", "10.244.0.0/16 C, 10.244.0.0/24 L", "10.244.1.0-10.244.255.255"},
		{"the local one last", "10.244.0.0/16 C, 10.244.255.0/24 L", "10.244.0.0-10.244.254.255"},
		{"all of it local", "10.244.0.0/24 C, 10.244.0.0/25 L, 10.244.0.128/25 L", ""},
		{"a peer within changes nothing", "10.244.0.0/16 C, 10.244.2.0/24 R", "10.244.0.0-10.244.255.255"},
		{"a peer within the local one", "10.244.0.0/16 C, 10.244.0.0/17 L, 10.244.1.0/24 R", "10.244.1.0-10.244.1.255 10.244.128.0-10.244.255.255"},
		{"local within a peer's", "10.244.0.0/16 R, 10.244.1.0/24 L", "10.244.0.0-10.244.0.255 10.244.2.0-10.244.255.255"},
		{"four deep", "10.0.0.0/8 C, 10.0.0.0/16 L, 10.0.0.0/24 R, 10.0.0.4/30 L", "10.0.0.0-10.0.0.3 10.0.0.8-10.0.0.255 10.1.0.0-10.255.255.255"},
		{"a node within", "10.0.0.0/30 C, 10.0.0.2/32 N", "10.0.0.0-10.0.0.1 10.0.0.3-10.0.0.3"},
		{"neighbours", "10.0.0.0/24 C, 10.0.1.0/24 R, 10.0.3.0/24 C", "10.0.0.0-10.0.1.255 10.0.3.0-10.0.3.255"},
		{"the same twice, by two lengths", "10.0.0.0/24 C, 10.0.0.0/23 C", "10.0.0.0-10.0.1.255"},
		{"the end of all addresses", "128.0.0.0/1 C, 255.255.255.0/24 L, 255.255.255.255/32 R", "128.0.0.0-255.255.254.255 255.255.255.255-255.255.255.255"},
		{"all addresses", "0.0.0.0/0 C, ::/0 C", "0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"both families", "fd00::/32 C, fd00:0:1::/48 L, 10.0.0.0/31 C", "10.0.0.0-10.0.0.1 fd00::-fd00::ffff:ffff:ffff:ffff:ffff fd00:0:2::-fd00:0:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := rangesText(rangesOf(classesOf(t, test.classes), bpf.ClassCluster, bpf.ClassRemotePod))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRangesOfRandom compares with the longest prefix looked up address by
// address, in the few addresses that the prefixes are made of.
func TestRangesOfRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	all := []bpf.Class{bpf.ClassNone, bpf.ClassLocalPod, bpf.ClassLocalNode, bpf.ClassRemotePod, bpf.ClassRemoteNode, bpf.ClassCluster, bpf.ClassUnknownNode}
	for range 2000 {
		classes := map[netip.Prefix]bpf.Class{}
		for range random.IntN(12) {
			addr := netip.AddrFrom4([4]byte{255, 255, 255, byte(random.IntN(256))})
			classes[netip.PrefixFrom(addr, 24+random.IntN(9)).Masked()] = all[random.IntN(len(all))]
		}
		of := all[random.IntN(len(all)):]
		ranges := rangesOf(classes, of...)
		var longest prefixMap[bpf.Class]
		for p, class := range classes {
			longest.put(p, class)
		}
		for last := range 256 {
			addr := netip.AddrFrom4([4]byte{255, 255, 255, byte(last)})
			class, ok := longest.find(addr, 32)
			want := ok && slices.Contains(of, class)
			if inRanges(ranges, addr) != want {
				t.Fatalf("seed %d: %v of %v: %v are %s, but %v being in them is %v", seed, of, classes, of, rangesText(ranges), addr, !want)
			}
		}
	}
}

func inRanges(ranges []addrRange, addr netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r addrRange) bool {
		return r.from.Compare(addr) <= 0 && addr.Compare(r.to) <= 0
	})
}
