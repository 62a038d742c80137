package main

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/steering"
)

const exampleFile = "../../deploy/wgsteer.example.yaml"

func comparers() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}

// The documented example is the configuration.
func TestExampleConfig(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig(exampleFile, text, nodeNames{host: "some-host"})
	if err != nil {
		t.Fatal(err)
	}
	want := configuration{
		File: exampleFile,
		Plane: dataplane.Config{
			Node:         "node-a",
			Interface:    "wgsteer0",
			ListenPort:   51871,
			ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
			PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")},
			NodeIPs:      []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			Policy:       dataplane.Strict,
			Backend:      dataplane.Userspace,
			StateDir:     "/var/lib/wgsteer",
			BPFFS:        "/sys/fs/bpf/wgsteer",

			EncapsulationPorts: steering.EncapsulationPorts{VXLAN: []uint16{4789, 8472}, Geneve: []uint16{6081}},
		},
		RunDir:    "/run/wgsteer",
		Directory: "/etc/wgsteer/nodes",
		Metrics:   "127.0.0.1:9587",
	}
	if diff := cmp.Diff(want, got, comparers()); diff != "" {
		t.Errorf("example (-want +got):\n%s", diff)
	}
}

// What the example says of defaults is true: without its fields, all that has
// a default in this package is the same.
func TestConfigDefaults(t *testing.T) {
	got, err := parseConfig("f", []byte("clusterCIDRs: [10.244.0.0/16]\n"), nodeNames{host: "some-host"})
	if err != nil {
		t.Fatal(err)
	}
	want := configuration{
		File: "f",
		Plane: dataplane.Config{
			Node:         "some-host",
			Interface:    "wgsteer0",
			ListenPort:   51871,
			StateDir:     "/var/lib/wgsteer",
			BPFFS:        "/sys/fs/bpf/wgsteer",
			ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		},
		RunDir:    "/run/wgsteer",
		Directory: "/etc/wgsteer/nodes",
		Metrics:   "127.0.0.1:9587",
	}
	if diff := cmp.Diff(want, got, comparers()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestConfigValues(t *testing.T) {
	got, err := parseConfig("f", []byte(`{"clusterCIDRs": ["10.244.0.0/16", "fd00::/48"],
		"persistentKeepalive": "25s", mtu: 1400, endpoint: "[2001:db8::1]:7", "metrics": "",
		log: {level: debug, format: json}, devices: [eth0, 'flannel.1'], podDevices: [cni0, 'veth*'], policy: permissive, nodeCIDRs: [192.0.2.0/24, "2001:db8::/64"]}`), nodeNames{host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	p := got.Plane
	if p.PersistentKeepalive != 25*time.Second || p.MTU != 1400 || p.Endpoint != netip.MustParseAddrPort("[2001:db8::1]:7") ||
		len(p.ClusterCIDRs) != 2 || len(p.NodeCIDRs) != 2 || len(p.Devices) != 2 || len(p.PodDevices) != 2 || p.Policy != dataplane.Permissive {
		t.Errorf("got %+v", p)
	}
	if got.Metrics != "" || got.Log != (logConfig{Level: slog.LevelDebug, JSON: true}) {
		t.Errorf("metrics %q, log %+v", got.Metrics, got.Log)
	}
}

// A field with nothing after it is as good as absent, but for metrics, which
// are off then; so it is with empty texts.
func TestConfigEmpty(t *testing.T) {
	want, err := parseConfig("f", []byte(cluster), nodeNames{host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	want.Metrics = ""
	for name, text := range map[string]string{
		"nothing": "node:\ninterface:\nlistenPort:\npersistentKeepalive:\nmtu:\npodCIDRs:\nnodeIPs:\nnodeCIDRs:\nendpoint:\npolicy:\n" +
			"backend:\ndevices:\npodDevices:\nstateDir:\nrunDir:\nbpffs:\nsource:\nmetrics:\nlog:\n",
		"null":         "node: null\nmtu: ~\nendpoint: null\nsource: {directory: null}\nmetrics: null\nlog: {level: null, format: ~}\n",
		"a comment":    "metrics: # nowhere\nendpoint: # found\n",
		"empty values": "node: ''\ninterface: ''\nendpoint: ''\npolicy: ''\nbackend: ''\nstateDir: ''\nrunDir: ''\nbpffs: ''\nsource: {directory: ''}\nmetrics: ''\n",
	} {
		got, err := parseConfig("f", []byte(cluster+text), nodeNames{host: "h"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, comparers()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

const cluster = "clusterCIDRs: [10.244.0.0/16]\n"

// Each kind of wrong input, and the whole text that the user reads: the file,
// the line, the field and the value.
func TestConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty file":       {"", "f:1: clusterCIDRs: none: name the prefixes that hold all pods of the cluster, such as 10.244.0.0/16"},
		"no YAML":          {"node: 'a\n", "f:1: not YAML: could not find end character of single-quoted text"},
		"tab":              {cluster + "log:\n\tlevel: info\n", "f:3: not YAML: found character '\t' that cannot start any token"},
		"twice":            {cluster + "node: a\nnode: b\n", `f:3: not YAML: mapping key "node" already defined at [2:1]`},
		"no mapping":       {"- node\n", `f:1: fields and values are needed, such as "node: node-a", not a list`},
		"two documents":    {cluster + "---\nnode: b\n", "f:3: a second YAML document; a configuration is one"},
		"unknown field":    {cluster + "colour: blue\n", "f:2: colour: blue: unknown field; known are node, interface, listenPort, persistentKeepalive, mtu, clusterCIDRs, podCIDRs, nodeIPs, nodeCIDRs, endpoint, policy, backend, devices, podDevices, encapsulationPorts, stateDir, runDir, bpffs, source, metrics, log"},
		"misspelt field":   {cluster + "listen-port: 1\n", "f:2: listen-port: 1: unknown field; did you mean listenPort?"},
		"singular":         {"clusterCIDR: [10.244.0.0/16]\n", "f:1: clusterCIDR: [10.244.0.0/16]: unknown field; did you mean clusterCIDRs?"},
		"unknown inside":   {cluster + "log:\n  level: info\n  file: /x\n", "f:4: log.file: /x: unknown field; known are level, format"},
		"misspelt inside":  {cluster + "source: {Directory: /x}\n", "f:2: source.Directory: /x: unknown field; did you mean source.directory?"},
		"text for mapping": {cluster + "log: info\n", "f:2: log: info: fields are needed here, such as {level: info, format: text}"},
		"mapping for text": {cluster + "node: {name: a}\n", "f:2: node: {name: a}: a text is needed; put it in quotes, not a mapping"},
		"number for text":  {cluster + "node: 7\n", "f:2: node: 7: a text is needed; put it in quotes, not a number"},
		"text for number":  {cluster + "listenPort: many\n", "f:2: listenPort: many: a whole number from 1 to 65535 is needed, not a text"},
		"a port of a list": {cluster + "encapsulationPorts: {vxlan: [4789, 0]}\n", "f:2: encapsulationPorts.vxlan: 0: a whole number from 1 to 65535 is needed"},
		"a text for port":  {cluster + "encapsulationPorts: {geneve: [many]}\n", "f:2: encapsulationPorts.geneve: many: a whole number from 1 to 65535 is needed, not a text"},
		"port for a list":  {cluster + "encapsulationPorts: {geneve: 6081}\n", "f:2: encapsulationPorts.geneve: 6081: a list is needed, such as [6081]"},
		"a port for both":  {cluster + "encapsulationPorts:\n  geneve: [8472]\n", "f:2: encapsulationPorts: [] [8472]: encapsulation port 8472: either VXLAN or Geneve, not both"},
		"port 0":           {cluster + "listenPort: 0\n", "f:2: listenPort: 0: a whole number from 1 to 65535 is needed"},
		"port 70000":       {cluster + "listenPort: 70000\n", "f:2: listenPort: 70000: a whole number from 1 to 65535 is needed"},
		"a huge number":    {cluster + "mtu: 18446744073709551615\n", "f:2: mtu: 18446744073709551615: a whole number from 0 to 65535 is needed"},
		"negative":         {cluster + "mtu: -1\n", "f:2: mtu: -1: a whole number from 0 to 65535 is needed"},
		"mtu of 100":       {cluster + "mtu: 100\n", "f:2: mtu: 100: 0 (smallest uplink MTU - 80) or 576 to 65455"},
		"keepalive number": {cluster + "persistentKeepalive: 25\n", "f:2: persistentKeepalive: 25: a duration such as 25s is needed, or 0s for none, not a number"},
		"keepalive words":  {cluster + "persistentKeepalive: often\n", "f:2: persistentKeepalive: often: a duration such as 25s is needed, or 0s for none"},
		"keepalive ms":     {cluster + "persistentKeepalive: 1500ms\n", "f:2: persistentKeepalive: 1.5s: whole seconds from 0s (off) to 18h12m15s"},
		"no list":          {"clusterCIDRs: 10.244.0.0/16\n", "f:1: clusterCIDRs: 10.244.0.0/16: a list is needed, such as [10.244.0.0/16]"},
		"no prefix":        {"clusterCIDRs:\n- 10.244.0.0/16\n- 10.245.0.0\n", "f:3: clusterCIDRs: 10.245.0.0: a prefix such as 10.244.0.0/16 or fd00:10:244::/48 is needed"},
		"host bits":        {"clusterCIDRs:\n- 10.244.0.0/16\n- 10.245.0.1/16\n", "f:3: clusterCIDRs: 10.245.0.1/16: has host bits; write 10.245.0.0/16"},
		"pods elsewhere":   {cluster + "podCIDRs: [10.9.1.0/24]\n", "f:2: podCIDRs: 10.9.1.0/24: lies in none of clusterCIDRs (10.244.0.0/16); add a prefix there that holds it"},
		"no address":       {cluster + "nodeIPs: [node-a]\n", "f:2: nodeIPs: node-a: an address such as 192.0.2.1 or 2001:db8::1 is needed"},
		"nodes, no prefix": {cluster + "nodeCIDRs: [192.0.2.1]\n", "f:2: nodeCIDRs: 192.0.2.1: a prefix such as 192.0.2.0/24 or 2001:db8::/64 is needed"},
		"nodes and pods":   {cluster + "nodeCIDRs:\n- 192.0.2.0/24\n- 10.244.128.0/17\n", "f:4: nodeCIDRs: 10.244.128.0/17: overlaps clusterCIDRs' 10.244.0.0/16, which is for pods alone; narrow one of them"},
		"pods behind all":  {cluster + "podDevices:\n- veth*\n- '*'\n", "f:4: podDevices: *: every device fits; leave it out, for that is the default"},
		"no device":        {cluster + "podDevices: [7]\n", `f:2: podDevices: 7: the name of a network device is needed, or its start and a *, such as "veth*"; put it in quotes, not a number`},
		"node among pods":  {cluster + "nodeIPs: [10.244.0.1]\n", "f:2: nodeIPs: 10.244.0.1: lies in clusterCIDRs' 10.244.0.0/16, which is for pods alone; narrow clusterCIDRs"},
		"endpoint's port":  {cluster + "endpoint: 192.0.2.1\n", "f:2: endpoint: 192.0.2.1: an address and a port, such as 192.0.2.1:51871 or [2001:db8::1]:51871, are needed"},
		"policy":           {cluster + "policy: lax\n", "f:2: policy: lax: strict or permissive"},
		"backend":          {cluster + "backend: openvpn\n", "f:2: backend: openvpn: userspace, kernel or auto"},
		"long device":      {cluster + "interface: wireguard-steering0\n", "f:2: interface: wireguard-steering0: the name of a network device has 1 to 15 bytes"},
		"relative dir":     {cluster + "stateDir: state\n", "f:2: stateDir: state: an absolute path is needed"},
		"relative run dir": {cluster + "runDir: run\n", "f:2: runDir: run: an absolute path is needed"},
		"long run dir":     {cluster + "runDir: /" + strings.Repeat("r", 95) + "\n", "f:2: runDir: /" + strings.Repeat("r", 59) + "...: the path of the control socket wgsteer0.sock would have 110 bytes, and 107 are possible; set runDir to a shorter path"},
		"relative source":  {cluster + "source:\n  directory: nodes\n", "f:3: source.directory: nodes: an absolute path is needed"},
		"metrics":          {cluster + "metrics: 9587\n", `f:2: metrics: 9587: an address and a port, such as 127.0.0.1:9587 or :9587, or "" for none, are needed, not a number`},
		"metrics port":     {cluster + "metrics: 127.0.0.1:http\n", `f:2: metrics: 127.0.0.1:http: an address and a port, such as 127.0.0.1:9587 or :9587, or "" for none, are needed`},
		"log level":        {cluster + "log: {level: loud}\n", "f:2: log.level: loud: debug, info, warn or error is needed"},
		"log format":       {cluster + "log: {format: xml}\n", "f:2: log.format: xml: text or json is needed"},
		"alias":            {cluster + "node: &n a\ninterface: *n\n", "f:2: node: &n a: a text is needed; put it in quotes, not an anchor, alias or tag\nf:3: interface: *n: a text is needed; put it in quotes, not an anchor, alias or tag"},
		"all at once": {"node: 7\nclusterCIDRs: [x]\nport: 1\nlog: {level: 3}\n", strings.Join([]string{
			"f:1: node: 7: a text is needed; put it in quotes, not a number",
			"f:2: clusterCIDRs: x: a prefix such as 10.244.0.0/16 or fd00:10:244::/48 is needed",
			"f:3: port: 1: unknown field; known are node, interface, listenPort, persistentKeepalive, mtu, clusterCIDRs, podCIDRs, nodeIPs, nodeCIDRs, endpoint, policy, backend, devices, podDevices, encapsulationPorts, stateDir, runDir, bpffs, source, metrics, log",
			"f:4: log.level: 3: debug, info, warn or error is needed, not a number",
		}, "\n")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig("f", []byte(tt.text), nodeNames{host: "some-host"})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// The longest runDir that is allowed has room for the socket.
func TestLongestRunDir(t *testing.T) {
	dir := t.TempDir()
	dir = filepath.Join(dir, strings.Repeat("r", maxSocketPath-len(dir)-len("//wgsteer0.sock")))
	c, err := parseConfig("f", []byte(cluster+"runDir: "+dir+"\n"), nodeNames{host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := listenControl(t.Context(), c)
	if err != nil {
		t.Fatalf("a socket path of %d bytes: %v", len(c.socketPath()), err)
	}
	l.Close()
}

// A broken file still tells where the running daemon is to be found.
func TestBrokenConfigKeepsWhatItSays(t *testing.T) {
	c, err := parseConfig("f", []byte("interface: wg7\nrunDir: /run/x\nmtu: big\n"), nodeNames{host: "h"})
	if err == nil {
		t.Fatal("no error")
	}
	if got := c.socketPath(); got != "/run/x/wg7.sock" {
		t.Errorf("socket %s", got)
	}
}

func TestConfigFiles(t *testing.T) {
	dir := t.TempDir()
	long := dir + "/long"
	if err := os.WriteFile(long, []byte(cluster+strings.Repeat("#", maxConfigSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	e, _, _ := testEnv()
	for file, want := range map[string]string{
		long:           "configuration file " + long + " is longer than 65536 bytes; is it the right one?",
		dir:            "read the configuration file: read " + dir + ": is a directory",
		dir + "/no":    "configuration file " + dir + "/no does not exist; write one (deploy/wgsteer.example.yaml explains every field) or name another with --config",
		long + "/file": "open the configuration file: open " + long + "/file: not a directory",
	} {
		c, err := loadConfig(e, file)
		var usage usageError
		if !errors.As(err, &usage) || err.Error() != want {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
		if got := c.socketPath(); got != "/run/wgsteer/wgsteer0.sock" {
			t.Errorf("%s: socket %s", file, got)
		}
	}
}

func FuzzConfig(f *testing.F) {
	if text, err := os.ReadFile(exampleFile); err == nil {
		f.Add(text)
	}
	for _, s := range []string{"", "a: b", cluster + "log: {level: debug}", "? [a]\n: b", "<<: {node: a}", "node: !!str 7", "- &a [*a]", "node: |\n  a\n  b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig("f", text, nodeNames{host: "some-host"})
		if !strings.HasPrefix(c.socketPath(), "/") && err == nil {
			t.Errorf("a valid configuration whose socket is %q", c.socketPath())
		}
		if err == nil && len(c.Plane.ClusterCIDRs) == 0 && c.Kubernetes == nil {
			t.Error("valid without clusterCIDRs")
		}
		if err == nil {
			return
		}
		lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n")
		for _, e := range joined(err) {
			ce, ok := e.(configError)
			if !ok || ce.Line < 1 || ce.Line > lines || ce.Problem == "" || ce.Field != "" && ce.Value == "" {
				t.Errorf("%d lines; error %#v", lines, e)
			}
		}
	})
}

func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
