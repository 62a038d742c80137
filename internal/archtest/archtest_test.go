package archtest

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThisModule(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 10 {
		t.Fatalf("found %d packages, this module has more", len(pkgs))
	}
	for _, c := range complaints(pkgs) {
		t.Error(c)
	}
}

// list reads the packages of this module in-process rather than by `go list`, so
// that `go test` knows which files the result depends on and caches it rightly.
func list(t *testing.T) []pkg {
	t.Helper()
	const top = "../.."
	var pkgs []pkg
	err := filepath.WalkDir(top, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir != top && foreign(dir) {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, dir)
		pkgs = append(pkgs, pkg{ImportPath: path.Join(module, filepath.ToSlash(rel)), Name: p.Name, Doc: p.Doc,
			GoFiles: p.GoFiles, Imports: p.Imports, TestImports: p.TestImports, XTestImports: p.XTestImports})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// foreign tells the directories that hold none of this module's packages.
func foreign(dir string) bool {
	name := filepath.Base(dir)
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// imports is a documented package that imports the given paths.
func imports(path string, imports ...string) pkg {
	return pkg{ImportPath: module + "/" + path, Name: "x", Doc: "Package x is one.", GoFiles: []string{"x.go"}, Imports: imports}
}

func TestComplaints(t *testing.T) {
	const m = module + "/"
	tested := imports("keymgr")
	tested.XTestImports = []string{m + "internal/privtest", m + "internal/netlab", m + "keymgr/file", "github.com/google/go-cmp/cmp"}
	reachesUp := imports("dataplane")
	reachesUp.TestImports = []string{m + "cmd/wgsteer"}
	undocumented := imports("wgkey")
	undocumented.Doc = ""
	nameless := imports("steering")
	nameless.Name = "util"
	testsOnly := pkg{ImportPath: m + "internal/archtest", Name: "archtest", XTestImports: []string{"testing"}}

	for _, tc := range []struct {
		name string
		pkg  pkg
		want []string
	}{
		{"the standard library", imports("keymgr", "net/netip", "log/slog"), nil},
		{"what the table says", imports("dataplane", m+"tunnel/userspace", m+"steering", m+"keymgr", m+"wgkey"), nil},
		{"the leaf", imports("tunnel", m+"wgkey"), nil},
		{"wireguard-go where it belongs", imports("tunnel/udpbind", m+"tunnel", "golang.zx2c4.com/wireguard/conn"), nil},
		{"a package of bench from its neighbour", imports("bench/report", m+"bench/sample"), nil},
		{"tests are free", tested, nil},
		{"a directory of tests alone", testsOnly, nil},
		{"a package's private part", imports("keymgr/file", m+"keymgr/internal/durable"), nil},
		{"a private part", imports("keymgr/internal/durable", m+"wgkey"), nil},

		{"steering meets tunnel", imports("steering", m+"tunnel"),
			[]string{m + "steering: may import bpf, internal/background of this module, not tunnel"}},
		{"an arrow upwards", imports("keymgr", m+"dataplane"),
			[]string{m + "keymgr: may import nothing of this module, not dataplane"}},
		{"a private part looks up", imports("keymgr/internal/durable", m+"keymgr"),
			[]string{m + "keymgr/internal/durable: may import nothing of this module, not keymgr"}},
		{"another back end", imports("tunnel/kernel", m+"tunnel/udpbind"),
			[]string{m + "tunnel/kernel: may import tunnel of this module, not tunnel/udpbind"}},
		{"wireguard-go elsewhere", imports("dataplane", "golang.zx2c4.com/wireguard/device"),
			[]string{m + "dataplane: imports golang.zx2c4.com/wireguard/device, which only tunnel/userspace, tunnel/tundev, tunnel/udpbind may"}},
		{"wgctrl is not wireguard-go", imports("tunnel/userspace", "golang.zx2c4.com/wireguard/wgctrl"),
			[]string{m + "tunnel/userspace: imports golang.zx2c4.com/wireguard/wgctrl, which only tunnel/kernel may"}},
		{"netlink elsewhere", imports("dataplane", "github.com/vishvananda/netlink"),
			[]string{m + "dataplane: imports github.com/vishvananda/netlink, which only steering, tunnel/tundev, tunnel/kernel, internal/netlab may"}},
		{"the lab in the product", imports("dataplane", m+"internal/netlab"),
			[]string{m + "dataplane: imports " + m + "internal/netlab, which only cmd/wgsteer, bench/..., internal/labtest may"}},
		{"a test's package in the product", imports("cmd/wgsteer", m+"internal/privtest"),
			[]string{m + "cmd/wgsteer: imports internal/privtest, which is for tests"}},
		{"testing in the product", imports("keymgr", "testing"),
			[]string{m + "keymgr: imports testing, which only internal/privtest, internal/kubetest, internal/labtest may"}},
		{"cmd is imported", imports("metrics", m+"cmd/wgsteer"),
			[]string{m + "metrics: imports cmd/wgsteer, which nothing may"}},
		{"cmd is imported by a test", reachesUp,
			[]string{m + "dataplane: its tests import cmd/wgsteer, which nothing may"}},
		{"a room that the plan does not have", imports("attic", m+"tunnel"),
			[]string{m + "attic: is not in the import table"}},
		{"a lonely room that the plan does not have", imports("attic"),
			[]string{m + "attic: is not in the import table"}},
		{"no package comment", undocumented, []string{m + "wgkey: no package comment"}},
		{"a name that says nothing", nameless, []string{m + `steering: the name "util" does not say what it is for`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, complaints([]pkg{tc.pkg})); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}
