package main

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var updateStatus = flag.Bool("update-status", false, "write the status tables in testdata")

var noon = time.Date(2026, 5, 22, 12, 0, 0, 0, time.UTC)

func degraded() statusReply {
	return statusReply{
		Version:       "v0.1.0",
		PID:           4711,
		Configuration: configurationStatus{File: "/etc/wgsteer/config.yaml", Loaded: noon.Add(-time.Hour), Error: "/etc/wgsteer/config.yaml:3: mtu: big: a whole number from 0 to 65535 is needed"},
		Source:        sourceStatus{Kind: sourceDirectory, Where: "/etc/wgsteer/nodes"},
		Status: dataplane.Status{
			State:      dataplane.Degraded,
			Since:      noon.Add(-3 * time.Hour),
			Ready:      true,
			Reasons:    []string{"steering: eth1: no such device"},
			Node:       "node-a",
			Interface:  "wgsteer0",
			PublicKey:  wgkey.PublicKey{1},
			ListenPort: 51871,
			Endpoint:   netip.MustParseAddrPort("192.0.2.1:51871"),
			MTU:        1420,
			MTUSource:  dataplane.MTUSource{Uplink: "eth0", UplinkMTU: 1500, Overhead: 80, Allowed: 1420},
			Policy:     dataplane.Strict,
			Backend:    dataplane.Userspace,

			BackendReason: "auto: this kernel has no WireGuard",
			PodCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:10:244:1::/64")},
			Peers: []dataplane.Peer{{
				Name: "node-b", Backend: "kernel", Endpoint: netip.MustParseAddrPort("192.0.2.2:51871"),
				PodCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")},
				LastHandshake: noon.Add(-42 * time.Second), RxBytes: 3 << 20, TxBytes: 1234,
			}, {
				Name: "node-c", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.3.0/24")},
			}},
			Problems: []keymgr.Problem{
				{Node: "node-x", Record: "/etc/wgsteer/nodes/node-x.yaml", Message: "its public key is node-b's; node-b keeps it"},
				{Record: "/etc/wgsteer/nodes/odd.yaml", Message: "unknown field colour, ignored", Warning: true},
			},
			Tunnel: tunnel.Stats{Drops: map[tunnel.DropReason]uint64{"udp_send_error": 7, "tun_ring_full": 0}, Offloads: []string{"tun-tso4", "udp-gso"}},
			Steering: steering.Status{
				Devices: []steering.Attachment{
					{Device: steering.Device{Name: "eth0"}, Mechanism: "tcx"},
					{Device: steering.Device{Name: "eth1"}, Error: "no such device"},
				},
				Verdicts: []steering.Verdict{
					{Hook: "egress", Verdict: "encrypt", Packets: 100},
					{Hook: "egress", Verdict: "drop", Reason: "unknown_peer", Packets: 12},
				},
				Repairs:     []steering.Repair{{Layer: "program", What: "guard on the egress of eth0", Times: 2, Last: noon.Add(-time.Minute)}},
				Unsteerable: []steering.Device{{Name: "macvlan0", Reason: "macvlan"}},
			},
		},
	}
}

// permissive is a node where nothing has passed in plaintext for so long.
func permissive(state dataplane.State, quiet time.Duration) statusReply {
	s := degraded()
	s.State, s.Policy = state, dataplane.Permissive
	s.Steering.Verdicts = append(s.Steering.Verdicts,
		steering.Verdict{Hook: "egress", Verdict: "pass", Reason: "not_pod_traffic", Packets: 5000},
		steering.Verdict{Hook: "ingress", Verdict: "pass", Reason: "plaintext_in", Packets: 34, WouldDrop: true})
	s.Steering.Plaintext = steering.Plaintext{Packets: 34, Since: noon.Add(-quiet)}
	return s
}

// inKubernetes is a node whose API server has been away for some minutes.
func inKubernetes() statusReply {
	s := degraded()
	s.Source = sourceStatus{
		Kind: sourceKubernetes, Where: "https://10.96.0.1:443", Failing: "connection refused", Since: noon.Add(-5 * time.Minute),
		Cluster: &foundCluster{Cluster: keymgr.Cluster{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, From: "kubeadm-config"}},
	}
	return s
}

func TestStatusTable(t *testing.T) {
	for name, tt := range map[string]struct {
		reply  statusReply
		colour bool
	}{
		"degraded":   {degraded(), false},
		"colour":     {degraded(), true},
		"kubernetes": {inKubernetes(), false},
		"not safe":   {permissive(dataplane.Degraded, 3*time.Hour), false},
		"early":      {permissive(dataplane.Ready, 59*time.Minute), false},
		"safe":       {permissive(dataplane.Ready, 3*time.Hour), false},
		"starting": {statusReply{Version: "v0.1.0", PID: 4711, Status: dataplane.Status{
			State: dataplane.Checking, Node: "node-a", Interface: "wgsteer0", Reasons: []string{"reading the key"},
		}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := (statusTable{colour: tt.colour, now: noon}).write(&b, tt.reply); err != nil {
				t.Fatal(err)
			}
			file := "testdata/status/" + strings.ReplaceAll(name, " ", "-") + ".txt"
			if *updateStatus {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s (-want +got; -update-status writes it anew):\n%s", file, diff)
			}
		})
	}
}

// JSON and YAML are one schema, and what a client reads back is what was sent.
func TestStatusFormats(t *testing.T) {
	var texts [2]strings.Builder
	for i, format := range []string{"json", "yaml"} {
		if err := (&output{format}).print(&texts[i], degraded(), nil); err != nil {
			t.Fatal(err)
		}
	}
	var fromJSON, fromYAML any
	if err := json.Unmarshal([]byte(texts[0].String()), &fromJSON); err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON([]byte(texts[1].String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("YAML differs (-json +yaml):\n%s", diff)
	}
	for _, field := range []string{"version", "pid", "configuration", "state", "ready", "peers", "problems", "tunnel", "steering"} {
		if _, ok := fromJSON.(map[string]any)[field]; !ok {
			t.Errorf("no field %s", field)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:           "less than 1 s",
		999 * time.Millisecond: "less than 1 s",
		time.Second:            "1 s",
		119 * time.Second:      "119 s",
		2 * time.Minute:        "2 min",
		119 * time.Minute:      "119 min",
		2 * time.Hour:          "2 h 0 min",
		47*time.Hour + 59*time.Minute + 59*time.Second: "47 h 59 min",
		48 * time.Hour: "2 days",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}
