package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// Rulesets as people write them; nft itself makes the listing that is judged.
func TestFirewall(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	nft := privtest.Tool(t, "nft")
	iptables := privtest.Tool(t, "iptables")
	const (
		free  = "ok no rule of this host is in the way of UDP port 51871"
		input = "add table inet f; add chain inet f input { type filter hook input priority 0; policy drop; };"
	)
	blocked := func(chain string, versions ...string) []string {
		var want []string
		for _, v := range versions {
			want = append(want, "fail chain "+chain+" drops UDP to port 51871 over IPv"+v)
		}
		return want
	}
	maybe := func(chain string, versions ...string) []string {
		var want []string
		for _, v := range versions {
			want = append(want, "warn chain "+chain+" may drop UDP to port 51871 over IPv"+v+": some of its rules depend on more than that")
		}
		return want
	}
	for name, tt := range map[string]struct {
		rules, iptables string
		want            []string
	}{
		"no rules":           {"", "", []string{free}},
		"policy":             {input, "", blocked("inet f input", "4", "6")},
		"policy, and let in": {input + "add rule inet f input udp dport 51871 accept", "", []string{free}},
		"a range":            {input + "add rule inet f input udp dport 51870-51880 accept", "", []string{free}},
		"a set":              {input + "add rule inet f input meta l4proto udp th dport { 53, 51871 } accept", "", []string{free}},
		"another port":       {input + "add rule inet f input udp dport { 53, 123 } accept", "", blocked("inet f input", "4", "6")},
		"all but one port":   {input + "add rule inet f input udp dport != 53 accept", "", []string{free}},
		"a named set":        {input + "add set inet f s { type inet_service; }; add rule inet f input udp dport @s accept", "", maybe("inet f input", "4", "6")},
		"IPv4 alone":         {input + "add rule inet f input meta nfproto ipv4 udp dport 51871 accept", "", blocked("inet f input", "6")},
		"from some hosts":    {input + "add rule inet f input ip saddr 192.0.2.0/24 udp dport 51871 accept", "", append(maybe("inet f input", "4"), blocked("inet f input", "6")...)},
		"only answers":       {input + "add rule inet f input ct state established,related accept; add rule inet f input iif lo accept; add rule inet f input tcp dport 51871 accept", "", blocked("inet f input", "4", "6")},
		"a map of states":    {input + "add rule inet f input ct state vmap { established : accept, invalid : drop }; add rule inet f input udp dport 51871 accept", "", []string{free}},
		"a map of ports":     {input + "add rule inet f input udp dport vmap { 53 : accept, 51871 : accept }", "", []string{free}},
		"by a jump":          {input + "add chain inet f c; add rule inet f c udp dport 51871 accept; add rule inet f input meta l4proto udp jump c", "", []string{free}},
		"return":             {input + "add chain inet f c; add rule inet f c return; add rule inet f c accept; add rule inet f input jump c", "", blocked("inet f input", "4", "6")},
		"goto":               {input + "add chain inet f c; add rule inet f input goto c; add rule inet f input accept", "", blocked("inet f input", "4", "6")},
		"refused after all":  {"add table inet f; add chain inet f input { type filter hook input priority 0; }; add rule inet f input udp dport 51000-52000 reject", "", blocked("inet f input", "4", "6")},
		"a rate limit":       {input + "add rule inet f input udp dport 51871 limit rate 5/second accept", "", maybe("inet f input", "4", "6")},
		"on the way out":     {"add table ip f; add chain ip f out { type filter hook output priority 0; }; add rule ip f out udp dport 51871 drop", "", blocked("ip f out", "4")},
		"forwarding alone":   {"add table ip f; add chain ip f fw { type filter hook forward priority 0; policy drop; }", "", []string{free}},
		"iptables":           {"", "-A INPUT -p udp --dport 51871 -j DROP", blocked("ip filter INPUT", "4")},
		"iptables' REJECT":   {"", "-A INPUT -p udp -j REJECT", blocked("ip filter INPUT", "4")},
		"iptables' own":      {"", "-A INPUT -p udp -m multiport --dports 51871,53 -j DROP", maybe("ip filter INPUT", "4")},
	} {
		t.Run(name, func(t *testing.T) {
			command(t, nft, "flush", "ruleset")
			if tt.rules != "" {
				command(t, nft, tt.rules)
			}
			if tt.iptables != "" {
				command(t, iptables, strings.Fields(tt.iptables)...)
			}
			var got []string
			for _, f := range checkFirewall(t.Context(), 51871) {
				got = append(got, string(f.Level)+" "+f.Detail)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// What check prints opens the port that it found blocked.
func TestFirewallMends(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	nft := privtest.Tool(t, "nft")
	command(t, nft, "add table inet f; add chain inet f input { type filter hook input priority 0; policy drop; }")
	blocked := checkFirewall(t.Context(), 51871)
	if len(blocked) == 0 || blocked[0].Level != levelFail {
		t.Fatalf("not found: %v", blocked)
	}
	line := strings.TrimSpace(blocked[0].Mend[0])
	command(t, "sh", "-c", line)
	if left := checkFirewall(t.Context(), 51871); left[0].Level != levelOK {
		t.Errorf("after %q: %v", line, left)
	}
	command(t, nft, "flush", "ruleset")
	iptables := privtest.Tool(t, "iptables")
	command(t, iptables, "-P", "INPUT", "DROP")
	blocked = checkFirewall(t.Context(), 51871)
	if len(blocked) == 0 || blocked[0].Level != levelFail {
		t.Fatalf("not found: %v", blocked)
	}
	line = strings.TrimSpace(blocked[0].Mend[1])
	command(t, "sh", "-c", line)
	if left := checkFirewall(t.Context(), 51871); left[0].Level != levelOK {
		t.Errorf("after %q: %v", line, left)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
