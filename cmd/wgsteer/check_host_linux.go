package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
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
	var findings []finding
	for _, f := range steering.CheckPodDevices(steeringOptions(config), steering.State{
		Strict:        config.Plane.Policy != dataplane.Permissive,
		LocalPodCIDRs: config.Plane.PodCIDRs,
		Devices:       config.Plane.Devices,
		PodDevices:    config.Plane.PodDevices,
	}) {
		findings = append(findings, ours(f))
	}
	return findings
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

// checkModule says whether the kernel's own WireGuard would be there too. It
// is not needed.
func checkModule() finding {
	const name = "wireguard"
	if _, err := os.Stat("/sys/module/wireguard"); err == nil {
		return finding{name, levelOK, "the kernel's WireGuard is loaded too; it is not used", nil}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{name, levelWarn, fmt.Sprintf("uname: %v", err), nil}
	}
	there, err := hasModule(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:])), "wireguard")
	switch {
	case err != nil:
		return finding{name, levelOK, fmt.Sprintf("whether this kernel has a WireGuard module is unknown (%v); none is needed", err), nil}
	case there:
		return finding{name, levelOK, "this kernel has a WireGuard module, not loaded; it is not used", nil}
	}
	return finding{name, levelOK, "this kernel has no WireGuard; none is needed", nil}
}

// hasModule looks into the lists that depmod writes.
func hasModule(dir, module string) (bool, error) {
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		text, err := os.ReadFile(filepath.Join(dir, list))
		if errors.Is(err, fs.ErrNotExist) && list == "modules.builtin" {
			continue
		}
		if err != nil {
			return false, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			path, _, _ := strings.Cut(lines.Text(), ":")
			if base, _, _ := strings.Cut(filepath.Base(path), "."); base == module {
				return true, nil
			}
		}
	}
	return false, nil
}
