package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// checkFirewall looks for rules of this host that keep the tunnel's datagrams
// out, or in.
func checkFirewall(ctx context.Context, port uint16) []finding {
	text, err := exec.CommandContext(ctx, "nft", "-j", "list", "ruleset").Output()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return []finding{{"firewall", levelWarn, "nft is not installed, so this host's rules were not looked at", []string{"install nftables to have them checked; in a pod of the image, which has none, look at nft list ruleset on the node"}}}
	case errors.As(err, &exit):
		why, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return []finding{{"firewall", levelWarn, "this host's rules were not looked at: nft list ruleset: " + why, nil}}
	case err != nil:
		return []finding{{"firewall", levelWarn, fmt.Sprintf("nft list ruleset: %v", err), nil}}
	}
	set, err := parseRuleset(text)
	if err != nil {
		return []finding{{"firewall", levelWarn, err.Error(), nil}}
	}
	findings := judgeFirewall(set, port)
	if old := legacyTables("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"); len(old) > 0 {
		findings = append(findings, finding{"firewall", levelWarn, "there are also rules of iptables-legacy, which were not looked at", []string{"see them: iptables-legacy -S; ip6tables-legacy -S"}})
	}
	return findings
}

// judgeFirewall has one finding for each chain that is in the way, and one if
// none is.
func judgeFirewall(set *ruleset, port uint16) []finding {
	var findings []finding
	for _, base := range set.bases {
		if base.hook != "input" && base.hook != "output" {
			continue
		}
		for _, version := range []int{4, 6} {
			o := set.judge(base, datagram{version, port})
			f := finding{"firewall", levelFail, fmt.Sprintf("chain %s drops UDP to port %d over IPv%d", base.id, port, version), openPort(base.id.String(), port, version == 6)}
			if o&dropped == 0 {
				continue
			}
			if o != dropped {
				f.Level = levelWarn
				f.Detail = fmt.Sprintf("chain %s may drop UDP to port %d over IPv%d: some of its rules depend on more than that", base.id, port, version)
			}
			findings = append(findings, f)
		}
	}
	if len(findings) == 0 {
		return []finding{{"firewall", levelOK, fmt.Sprintf("no rule of this host is in the way of UDP port %d", port), nil}}
	}
	return findings
}

// legacyTables reads the names of tables in use by the old iptables; a kernel
// without it has no such file.
func legacyTables(paths ...string) []string {
	var names []string
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err == nil {
			names = append(names, strings.Fields(string(text))...)
		}
	}
	return names
}
