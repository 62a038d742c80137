package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel/tundev"
)

func checkTUN() finding {
	if err := tundev.Check(); err != nil {
		return finding{"tun", levelFail, err.Error(), nil}
	}
	return finding{"tun", levelOK, "/dev/net/tun can be opened", nil}
}

// checkSteering is what steering finds, in our terms.
func checkSteering(config configuration) []finding {
	var findings []finding
	for _, f := range steering.Check(steeringOptions(config)) {
		g := ours(f)
		if says := string(cmp.Or(config.Plane.Policy, dataplane.Strict)); f.Name == "policy" && !strings.HasPrefix(f.Detail, says) {
			g.Level, g.Detail = levelFail, f.Detail+"; the configuration says "+says
			g.Mend = []string{"reload or start wgsteer, or have `wgsteer guard` do it without it"}
		}
		findings = append(findings, g)
	}
	return findings
}

// checkPodDevices is what steering finds of the devices that pods are said to be behind.
func checkPodDevices(config configuration) []finding {
	pods, unknown := podsHere(config)
	findings := unknown
	for _, f := range steering.CheckPodDevices(steeringOptions(config), steering.State{
		Strict:        config.Plane.Policy != dataplane.Permissive,
		LocalPodCIDRs: pods,
		Devices:       config.Plane.Devices,
		PodDevices:    config.Plane.PodDevices,
	}) {
		findings = append(findings, ours(f))
	}
	return findings
}

// podsHere are the prefixes of this node's pods: those configured, or else those that the
// source told the last daemon. It is told where routes to pods are asked about, and none
// is known.
func podsHere(config configuration) ([]netip.Prefix, []finding) {
	if len(config.Plane.PodCIDRs) > 0 || len(config.Plane.PodDevices) == 0 {
		return config.Plane.PodCIDRs, nil
	}
	claims, err := keymgr.NewStore(config.Plane.StateDir).PeekClaims()
	own, _ := claims.Apart(config.Plane.Node)
	switch {
	case err != nil:
		return nil, []finding{{"pod-devices", levelWarn, "which pods are here is not known, nor whether routes have them behind podDevices: " + err.Error(), []string{
			"check as root; where the file is damaged, start wgsteer, which sets it aside and remembers anew",
		}}}
	case config.Kubernetes != nil && len(own.PodCIDRs) == 0:
		return nil, []finding{{"pod-devices", levelWarn, "no daemon has been told yet which pods are here, so no route to them is looked at", []string{
			"start wgsteer, then check again",
		}}}
	}
	return own.PodCIDRs, nil
}

func steeringOptions(config configuration) steering.Options {
	return steering.Options{BPFFS: config.Plane.BPFFS, Name: config.Plane.Interface, Logger: slog.New(slog.DiscardHandler)}
}

func ours(f steering.Finding) finding {
	g := finding{Name: f.Name, Level: level(f.Level), Detail: f.Detail}
	if f.Mend != "" {
		g.Mend = []string{f.Mend}
	}
	return g
}

// checkNamed looks for the devices that the configuration names.
func checkNamed(names []string) []finding {
	if len(names) == 0 {
		return nil
	}
	devices, err := net.Interfaces()
	if err != nil {
		return []finding{{"devices", levelFail, fmt.Sprintf("list the network devices: %v", err), nil}}
	}
	var present []string
	for _, d := range devices {
		present = append(present, d.Name)
	}
	return judgeNamed(names, present)
}

// judgeNamed has one finding for each named device that is not present: a name
// that is mistyped leaves the device that was meant unsteered.
func judgeNamed(names, present []string) []finding {
	var findings []finding
	for _, n := range names {
		if slices.Contains(present, n) {
			continue
		}
		findings = append(findings, finding{"devices", levelFail, "the configuration's devices name " + n + ", which does not exist", []string{
			"see what does: ip -brief link",
			"then set devices to the uplinks and overlay devices of this node, or remove it to have them found",
		}})
	}
	return findings
}
