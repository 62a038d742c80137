package bpf_test

import (
	"bytes"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/bpf"
)

func spec(t *testing.T) *ebpf.CollectionSpec {
	t.Helper()
	s, err := bpf.LoadSteer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKey(t *testing.T) {
	for in, want := range map[string]bpf.SteerPrefixKey{
		"10.244.1.9/24":     {Prefixlen: 120, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: 244, 14: 1}},
		"192.0.2.1/32":      {Prefixlen: 128, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 1}},
		"0.0.0.0/0":         {Prefixlen: 96, Addr: [16]byte{10: 0xff, 11: 0xff}},
		"fd00:244:2::1/48":  {Prefixlen: 48, Addr: [16]byte{0: 0xfd, 2: 2, 3: 0x44, 5: 2}},
		"::/0":              {},
		"2001:db8::3/128":   {Prefixlen: 128, Addr: [16]byte{0: 0x20, 1: 1, 2: 0x0d, 3: 0xb8, 15: 3}},
		"::ffff:0.0.0.0/90": {Prefixlen: 90, Addr: [16]byte{10: 0xff, 11: 0xc0}},
	} {
		prefix := netip.MustParsePrefix(in)
		got := bpf.Key(prefix)
		if got != want {
			t.Errorf("Key(%s) = %v, want %v", in, got, want)
		}
		if got.Prefix() != prefix.Masked() {
			t.Errorf("Key(%s).Prefix() = %s, want %s", in, got.Prefix(), prefix.Masked())
		}
	}
}

func TestPeerName(t *testing.T) {
	long := strings.Repeat("n", 256)
	for _, name := range []string{"node-a", long} {
		if value, err := bpf.PeerName(name); err != nil || value.String() != name {
			t.Errorf("PeerName(%q) reads %q, %v", name, value.String(), err)
		}
	}
	for _, name := range []string{"", long + "n", "node\x00a"} {
		if _, err := bpf.PeerName(name); err == nil {
			t.Errorf("PeerName(%q) is no error", name)
		}
	}
}

// enum is one of the enumerations as Go has it.
type enum struct {
	name  string
	count int
	text  func(int) (name, doc string)
}

var enums = []enum{
	{"class", 7, func(i int) (string, string) { return bpf.Class(i).String(), bpf.Class(i).Doc() }},
	{"hook", 4, func(i int) (string, string) { return bpf.Hook(i).String(), bpf.Hook(i).Doc() }},
	{"verdict", 3, func(i int) (string, string) { return bpf.Verdict(i).String(), bpf.Verdict(i).Doc() }},
	{"reason", 18, func(i int) (string, string) { return bpf.Reason(i).String(), bpf.Reason(i).Doc() }},
}

// The object's own type information has the names and numbers that Go has.
func TestEnumerationsAreThoseOfTheObject(t *testing.T) {
	types := spec(t).Types
	for _, e := range enums {
		var inC *btf.Enum
		if err := types.TypeByName(e.name, &inC); err != nil {
			t.Errorf("enum %s: %v", e.name, err)
			continue
		}
		var want, got []btf.EnumValue
		for _, v := range inC.Values {
			if v.Name != strings.ToUpper(e.name)+"_COUNT" {
				want = append(want, v)
			}
		}
		for i := range e.count {
			name, _ := e.text(i)
			got = append(got, btf.EnumValue{Name: strings.ToUpper(e.name) + "_" + name, Value: uint64(i)})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("enum %s (-C +Go)\n%s", e.name, diff)
		}
	}
}

// Every name is fit for a metric label, and every name has its line of
// documentation, none of them twice.
func TestEverythingHasANameAndDocumentation(t *testing.T) {
	label := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, e := range enums {
		seen := map[string]bool{}
		for i := range e.count {
			name, doc := e.text(i)
			if !label.MatchString(name) || len(doc) < 10 || strings.Contains(doc, "\n") || seen[name] || seen[doc] {
				t.Errorf("%s %d is named %q and documented %q", e.name, i, name, doc)
			}
			seen[name], seen[doc] = true, true
		}
		if name, doc := e.text(e.count); label.MatchString(name) || doc != "" {
			t.Errorf("%s %d should be unknown, but is named %q and documented %q", e.name, e.count, name, doc)
		}
	}
}

func TestOutcomesFillTheirPlaces(t *testing.T) {
	size := spec(t).Maps[bpf.SteerMapVerdicts].MaxEntries
	outcomes, last := bpf.Outcomes(), int64(-1)
	if len(outcomes) != 4*3*18 {
		t.Errorf("%d outcomes, want every hook with every verdict and reason", len(outcomes))
	}
	for _, o := range outcomes {
		if index := o.Index(); int64(index) <= last || index >= size {
			t.Errorf("%v has index %d of %d, after %d", o, index, size, last)
		}
		last = int64(o.Index())
	}
}

// What steering and an older version's pins rely on.
func TestMaps(t *testing.T) {
	type shape struct {
		Type             ebpf.MapType
		Key, Value, Size uint32
		Flags            uint32
	}
	const noPrealloc = 1 // BPF_F_NO_PREALLOC
	want := map[string]shape{
		"prefixes":   {ebpf.LPMTrie, 20, 8, 65536, noPrealloc},
		"settings":   {ebpf.Array, 4, 40, 1, 0},
		"verdicts":   {ebpf.PerCPUArray, 4, 16, 1024, 0},
		"peers":      {ebpf.PerCPUHash, 4, 32, 16384, noPrealloc},
		"peer_names": {ebpf.Hash, 4, 256, 16384, noPrealloc},
	}
	got := map[string]shape{}
	for name, m := range spec(t).Maps {
		got[name] = shape{m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestProgramsAreForTheTrafficControlHooks(t *testing.T) {
	got := map[string]ebpf.ProgramType{}
	for name, p := range spec(t).Programs {
		got[name] = p.Type
		if p.License != "Dual MIT/GPL" {
			t.Errorf("%s has licence %q", name, p.License)
		}
	}
	want := map[string]ebpf.ProgramType{}
	for _, name := range programs {
		want[name] = ebpf.SchedCLS
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The object would be another on another machine if it held a path of this one.
func TestObjectHoldsNoPath(t *testing.T) {
	object, err := os.ReadFile("steer_bpfel.o")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(object, []byte("./steer.c\x00")) {
		t.Error("the object does not say which file a line is of")
	}
	if path := regexp.MustCompile(`\x00/[\w.-]+/[\w./-]*\x00`).Find(object); path != nil {
		t.Errorf("the object holds the path %q", path)
	}
}
