package netlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The plugins of github.com/containernetworking/plugins are driven as a container
// runtime does by the CNI specification, version 1.0.0 (github.com/
// containernetworking/cni, SPEC.md): one process for each pod, which reads a
// configuration from standard input and writes a result to standard output.

// pluginDirs are where upstream and Debian put them.
var pluginDirs = []string{"/opt/cni/bin", "/usr/lib/cni"}

// pluginIPAM hands out addresses.
const pluginIPAM = "host-local"

// pluginConfig is a network configuration; each plugin ignores what is another's.
type pluginConfig struct {
	CNIVersion string     `json:"cniVersion"`
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Bridge     string     `json:"bridge,omitempty"`
	IsGateway  bool       `json:"isGateway,omitempty"`
	IPMasq     bool       `json:"ipMasq,omitempty"`
	MTU        int        `json:"mtu"`
	IPAM       ipamConfig `json:"ipam"`
}

type ipamConfig struct {
	Type    string        `json:"type"`
	DataDir string        `json:"dataDir"`
	Ranges  [][]ipamRange `json:"ranges"`
	Routes  []ipamRoute   `json:"routes"`
}

type ipamRange struct {
	Subnet     netip.Prefix `json:"subnet"`
	RangeStart netip.Addr   `json:"rangeStart"`
	Gateway    netip.Addr   `json:"gateway"`
}

type ipamRoute struct {
	Dst netip.Prefix `json:"dst"`
}

// pluginResult is what of a plugin's result matters here.
type pluginResult struct {
	IPs []struct {
		Address netip.Prefix `json:"address"`
	} `json:"ips"`
	Code    int    `json:"code"` // of an error
	Msg     string `json:"msg"`
	Details string `json:"details"`
}

// pluginConfig is the configuration of a node's plugin.
func (l *Lab) pluginConfig(n *Node, plugin string) pluginConfig {
	c := pluginConfig{CNIVersion: "1.0.0", Name: "lab-" + l.Run, Type: plugin, MTU: l.options.PodMTU, IPMasq: l.options.CNI.Masquerades()}
	if l.options.CNI.bridged() {
		c.Bridge, c.IsGateway = "cni0", true
	}
	c.IPAM = ipamConfig{Type: pluginIPAM, DataDir: filepath.Join(l.Dir, n.Name, "ipam")}
	for _, p := range n.PodCIDRs {
		c.IPAM.Ranges = append(c.IPAM.Ranges, []ipamRange{{Subnet: p, RangeStart: host(p, 2), Gateway: host(p, 1)}})
		c.IPAM.Routes = append(c.IPAM.Routes, ipamRoute{everything(p)})
	}
	return c
}

// addByPlugin has a plugin connect a pod. Addresses are handed out in order, so that
// the pod gets those that were planned.
func (l *Lab) addByPlugin(ctx context.Context, p *Pod, plugin string) error {
	path, err := findPlugin(pluginDirs, plugin)
	if err != nil {
		return err
	}
	config, err := json.Marshal(l.pluginConfig(p.Node, plugin))
	if err != nil {
		return err
	}
	cmd := p.Node.Command(ctx, path)
	cmd.Stdin = bytes.NewReader(config)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID="+filepath.Base(p.Path), "CNI_NETNS="+p.Path,
		"CNI_IFNAME=eth0", "CNI_ARGS=", "CNI_PATH="+strings.Join(pluginDirs, ":"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var result pluginResult
	if jerr := json.Unmarshal(out, &result); err == nil {
		err = jerr
	}
	if err != nil {
		return fmt.Errorf("CNI plugin %s, ADD: %w: %s %s %s", plugin, err, result.Msg, result.Details, &stderr)
	}
	var got []netip.Addr
	for _, ip := range result.IPs {
		got = append(got, ip.Address.Addr())
	}
	if !slices.Equal(got, p.IPs) {
		return fmt.Errorf("CNI plugin %s gave %s the addresses %v, not %v", plugin, p.FullName(), got, p.IPs)
	}
	return nil
}

// findPlugin returns fs.ErrNotExist where there is none.
func findPlugin(dirs []string, name string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no CNI plugin %s in %s: install the package containernetworking-plugins, or choose another network: %w",
		name, strings.Join(dirs, " or "), fs.ErrNotExist)
}
