package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("/a/b/c", []byte("hello"))
	a.link("/a/l", "/a/b/c")
	a.device("a/d", 5, 1)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// Inode, mode, uid, gid, links, time, size, 2 of the file system's device, 2
	// of its own, length of the name with its end, checksum; then both padded.
	const pad = "\x00"
	want := strings.Join([]string{
		"070701" + "00000001" + "000041ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "a" + pad,
		"070701" + "00000002" + "000041ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "a/b" + pad + pad + pad,
		"070701" + "00000003" + "000081ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" + "00000000" + "00000000" + "00000000" + "00000000" + "00000006" + "00000000" + "a/b/c" + pad + "hello" + pad + pad + pad,
		"070701" + "00000004" + "0000a1ff" + "00000000" + "00000000" + "00000001" + "00000000" + "00000006" + "00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "a/l" + pad + pad + pad + "/a/b/c" + pad + pad,
		"070701" + "00000005" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000" + "00000000" + "00000005" + "00000001" + "00000004" + "00000000" + "a/d" + pad + pad + pad,
		"070701" + "00000006" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "0000000b" + "00000000" + "TRAILER!!!" + pad + pad + pad + pad,
	}, "")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	if err := newArchive(failing{}).close(); err == nil {
		t.Error("a writer that fails is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestClosure(t *testing.T) {
	depends := map[string][]string{
		"vxlan": {"udp_tunnel", "ip6_udp_tunnel"}, "ip6_udp_tunnel": {"udp_tunnel"}, "udp_tunnel": nil, "tun": nil,
		"broken": {"none"}, "a": {"b"}, "b": {"a"},
	}
	for _, tt := range []struct{ names, want, problem string }{
		{"", "", ""},
		{"tun", "tun", ""},
		{"vxlan tun ip6-udp-tunnel vxlan", "udp_tunnel ip6_udp_tunnel vxlan tun", ""},
		{"a", "b a", ""}, // it ends
		{"none", "", "no none"},
		{"broken", "", "module broken: no none"},
	} {
		modules, err := closure(strings.Fields(tt.names), func(name string) (Module, error) {
			d, ok := depends[name]
			if !ok {
				return Module{}, fmt.Errorf("no %s", name)
			}
			return Module{Name: name, Depends: d}, nil
		})
		var got []string
		for _, m := range modules {
			got = append(got, m.Name)
		}
		if strings.Join(got, " ") != tt.want || fmt.Sprint(err) != fmt.Sprint(problem(tt.problem)) {
			t.Errorf("closure(%s) = %v, %v, want %s, %s", tt.names, got, err, tt.want, tt.problem)
		}
	}
}

func problem(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func TestParseModinfo(t *testing.T) {
	info := "alias=rtnl-link-vxlan\x00author=x\x00\x00\x00depends=udp_tunnel,ip6_udp_tunnel\x00alias=pci:v*d*\x00name=vxlan\x00"
	want := Module{Depends: []string{"udp_tunnel", "ip6_udp_tunnel"}, Aliases: []string{"rtnl_link_vxlan"}}
	if diff := cmp.Diff(want, parseModinfo([]byte(info))); diff != "" {
		t.Errorf("of vxlan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Module{}, parseModinfo([]byte("depends=\x00"))); diff != "" {
		t.Errorf("of one that depends on nothing (-want +got):\n%s", diff)
	}
}

func TestParseLdd(t *testing.T) {
	for _, tt := range []struct {
		out, want, problem string
	}{
		{"\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n", "/lib/x/libc.so.6 /lib64/ld-linux-x86-64.so.2", ""},
		{"\tnot a dynamic executable\n", "", ""},
		{"\tlibx.so.1 => not found\n", "", "ldd: libx.so.1 => not found"},
	} {
		got, err := parseLdd(tt.out)
		if strings.Join(got, " ") != tt.want || fmt.Sprint(err) != fmt.Sprint(problem(tt.problem)) {
			t.Errorf("parseLdd(%q) = %v, %v, want %s, %s", tt.out, got, err, tt.want, tt.problem)
		}
	}
}
