package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// defaultLabName is what a lab is called that nobody named.
const defaultLabName = "demo"

// labShape is what a lab should be.
type labShape struct {
	name     string
	nodes    int
	pods     int   // of each node
	families []int // 4 and 6
	cni      string
	mtu      int      // of the underlay
	backends []string // the nodes take them in turn
}

// labBackends are those of the configuration.
var labBackends = []string{string(dataplane.Userspace), string(dataplane.Kernel), string(dataplane.Auto)}

// labNames is netlab's rule; the names of interfaces and directories set it.
var labNames = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// validate names the flag and the value that is wrong.
func (s labShape) validate() error {
	switch {
	case !labNames.MatchString(s.name):
		return fmt.Errorf("--name %q: 1 to 8 lower-case letters and digits are needed", s.name)
	case s.nodes < 2 || s.nodes > netlab.MaxNodes:
		return fmt.Errorf("--nodes %d: 2 to %d are needed", s.nodes, netlab.MaxNodes)
	case len(s.backends) == 0:
		return fmt.Errorf("--backend: one or more of %s are needed", strings.Join(labBackends, ", "))
	case s.pods < 1 || s.pods > netlab.MaxPods:
		return fmt.Errorf("--pods %d: 1 to %d are needed", s.pods, netlab.MaxPods)
	}
	for i, f := range s.families {
		if f != 4 && f != 6 || slices.Contains(s.families[:i], f) {
			return fmt.Errorf("--family %s: 4, 6 or 4,6 is needed", strings.Trim(fmt.Sprint(s.families), "[]"))
		}
	}
	for _, b := range s.backends {
		if !slices.Contains(labBackends, b) {
			return fmt.Errorf("--backend %q: one or more of %s are needed", b, strings.Join(labBackends, ", "))
		}
	}
	if !slices.Contains(netlab.CNIs(), netlab.CNI(s.cni)) {
		return fmt.Errorf("--cni %q: one of %s is needed", s.cni, labCNIs())
	}
	if s.cni == string(netlab.IPIP) && !slices.Contains(s.families, 4) {
		return fmt.Errorf("--cni %s --family 6: its outer packets are IPv4, so --family 4 or 4,6 is needed", s.cni)
	}
	if least := netlab.MinMTU(s.families); s.mtu < least || s.mtu > netlab.MaxMTU {
		return fmt.Errorf("--mtu %d: %d to %d are needed, of which a tunnel takes %d off", s.mtu, least, netlab.MaxMTU, netlab.TunnelOverhead)
	}
	return nil
}

func labCNIs() string {
	var names []string
	for _, c := range netlab.CNIs() {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

func (s *labShape) addFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.nodes, "nodes", 3, "how many nodes")
	cmd.Flags().IntVar(&s.pods, "pods", 2, "how many pods a node")
	cmd.Flags().IntSliceVar(&s.families, "family", []int{4, 6}, "IP versions of nodes and pods")
	cmd.Flags().StringVar(&s.cni, "cni", string(netlab.Bridge), "the pods' network: "+labCNIs())
	cmd.Flags().StringSliceVar(&s.backends, "backend", labBackends[:1], "what runs the tunnels: "+strings.Join(labBackends, ", ")+"; nodes take several in turn")
	cmd.Flags().IntVar(&s.mtu, "mtu", 1500, "MTU of the network between the nodes; pods get what their network leaves of it")
}
