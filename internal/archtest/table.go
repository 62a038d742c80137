package archtest

// module is this module's path.
const module = "github.com/wgsteer/wgsteer"

// rule says what the packages that match its pattern may import of this module.
type rule struct {
	pattern string
	may     []string
}

// table is looked up from the top; the first match counts. Every package has to
// be in it. Patterns are import paths within the module; a trailing "/..." also
// matches everything below. wgkey is a leaf that all may import.
var table = []rule{
	{"cmd/wgsteer", []string{"..."}},
	{"bench/...", []string{"bench/...", "dataplane", "tunnel/...", "internal/netlab"}},
	{"dataplane", []string{"tunnel/...", "steering", "keymgr", "internal/background"}},
	{"tunnel", nil},
	{"tunnel/userspace", []string{"tunnel", "tunnel/tundev", "tunnel/udpbind"}},
	{"tunnel/...", []string{"tunnel"}},
	{"steering", []string{"bpf", "internal/background"}},
	{"metrics", []string{"dataplane", "tunnel"}},
	{"keymgr", nil},
	{"keymgr/file", []string{"keymgr"}},
	{"keymgr/kube", []string{"keymgr", "keymgr/kube/v1alpha1"}},
	{"keymgr/kube/v1alpha1", nil},
	{"bpf/...", nil},
	{"wgkey", nil},
	{"wire", nil},
	{"internal/background", nil},
	{"internal/netlab", []string{"wire"}},
	{"internal/vmtest", nil},
	{"internal/vmtest/guest", []string{"internal/vmtest"}},
	{"internal/privtest", nil},
	{"internal/archtest", nil},
	{"internal/e2e", nil},
	{"internal/kubee2e", nil},
	{"internal/interop", nil},
	{"internal/labtest", []string{"dataplane", "internal/netlab"}},
	{"internal/kubetest", []string{"internal/privtest"}},
	{"deploy/...", nil},
}

// leaf is what every package may import.
const leaf = "wgkey"

// forTests are packages that tests alone may import.
var forTests = []string{"internal/privtest", "internal/archtest", "internal/e2e", "internal/kubee2e", "internal/interop", "internal/kubetest", "internal/labtest"}

// forNobody are packages that not even tests of others import.
var forNobody = []string{"cmd/...", "bench/...", "internal/archtest", "internal/e2e", "internal/kubee2e", "internal/interop"}

// owners says which packages of this module alone may import what is below a
// path of another module; the longest matching path counts. Test code is free.
var owners = map[string][]string{
	"github.com/spf13/cobra":            {"cmd/wgsteer"},
	"github.com/cilium/ebpf":            {"bpf/...", "steering"},
	"github.com/google/nftables":        {"steering"},
	"github.com/mdlayher/netlink":       {"steering"}, // for the socket of google/nftables
	"golang.zx2c4.com/wireguard":        {"tunnel/userspace", "tunnel/tundev", "tunnel/udpbind"},
	"golang.zx2c4.com/wireguard/wgctrl": {"tunnel/kernel"},
	"github.com/vishvananda/netlink":    {"steering", "tunnel/tundev", "tunnel/kernel", "internal/netlab"},
	"github.com/prometheus":             {"metrics"},
	"github.com/gopacket":               {"wire"},
	"k8s.io":                            {"keymgr/kube/...", "internal/kubetest"},
	module + "/internal/netlab":         {"cmd/wgsteer", "bench/...", "internal/labtest"},
	module + "/internal/vmtest":         {"cmd/wgsteer", "bench/...", "internal/vmtest/guest"},
	"testing":                           {"internal/privtest", "internal/kubetest", "internal/labtest"},
	"github.com/google/go-cmp":          nil,
	"github.com/rogpeppe/go-internal":   nil,
}

// nameless are package names that say nothing.
var nameless = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base", "lib"}
