package main

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// labDaemon is the configuration of the daemon of one node, as its file has it.
// What it leaves out has the defaults of every daemon.
type labDaemon struct {
	Node         string         `yaml:"node"`
	Interface    string         `yaml:"interface"`
	ClusterCIDRs []netip.Prefix `yaml:"clusterCIDRs"`
	PodCIDRs     []netip.Prefix `yaml:"podCIDRs"`
	NodeIPs      []netip.Addr   `yaml:"nodeIPs"`
	Policy       string         `yaml:"policy"`
	Backend      string         `yaml:"backend"`
	Devices      []string       `yaml:"devices"`
	StateDir     string         `yaml:"stateDir"`
	RunDir       string         `yaml:"runDir"`
	BPFFS        string         `yaml:"bpffs"`
	Source       labSource      `yaml:"source"`
	Metrics      string         `yaml:"metrics"`
}

type labSource struct {
	Directory string `yaml:"directory"`
}

// labDaemonOf is the configuration of a node's daemon: a directory of its own
// for everything but the records, which all nodes share.
func labDaemonOf(net *netlab.Lab, node *netlab.Node, backend string) labDaemon {
	return labDaemon{
		Node:         node.Name,
		Interface:    node.Interface,
		ClusterCIDRs: net.ClusterCIDRs,
		PodCIDRs:     node.PodCIDRs,
		NodeIPs:      node.IPs,
		Policy:       "strict",
		Backend:      backend,
		Devices:      []string{},
		StateDir:     node.StateDir,
		RunDir:       node.RunDir,
		BPFFS:        node.BPFFS,
		Source:       labSource{net.Records},
		Metrics:      defaultMetrics, // on the namespace's own loopback
	}
}

// text is the configuration file.
func (d labDaemon) text() ([]byte, error) {
	text, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration of %s: %w", d.Node, err)
	}
	return text, nil
}

// Where a lab keeps what is not netlab's.
func labConfigFile(net *netlab.Lab, node *netlab.Node) string {
	return filepath.Join(net.Dir, node.Name, "config.yaml")
}

func labLogFile(net *netlab.Lab, node *netlab.Node) string {
	return filepath.Join(net.Dir, node.Name, "daemon.log")
}
