package metrics_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/metrics"
	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt")

const golden = "testdata/metrics.txt"

var build = metrics.Build{Version: "v0.1.0", Revision: "abc", GoVersion: "go1.26"}

// sample uses every field that becomes a metric, each number once.
func sample() dataplane.Status {
	return dataplane.Status{
		State:      dataplane.Degraded,
		Since:      time.UnixMilli(1_700_000_000_500),
		Ready:      true,
		Reasons:    []string{"no uplink"},
		Node:       "node-a",
		Interface:  "wgsteer0",
		PublicKey:  wgkey.PublicKey{1},
		ListenPort: 51871,
		Endpoint:   netip.MustParseAddrPort("192.0.2.1:51871"),
		MTU:        1380,
		MTUSource:  dataplane.MTUSource{Configured: true, Uplink: "eth0", UplinkMTU: 1500, Overhead: 80, Allowed: 1420},
		Policy:     dataplane.Strict,
		Backend:    dataplane.Userspace,

		BackendReason: "configured",
		Peers: []dataplane.Peer{{
			Name:          "node-b",
			PublicKey:     wgkey.PublicKey{2},
			Endpoint:      netip.MustParseAddrPort("[2001:db8::2]:51871"),
			PodCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24"), netip.MustParsePrefix("fd00:2::/64")},
			NodeIPs:       []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")},
			LastHandshake: time.Unix(1_700_000_100, 999),
			RxBytes:       101,
			TxBytes:       102,
			Steered:       steering.PeerCounts{Name: "node-b", TxPackets: 103, TxBytes: 104, RxPackets: 105, RxBytes: 106},
		}, {
			Name:      "node-c", // never heard of
			PublicKey: wgkey.PublicKey{3},
		}},
		Problems: []keymgr.Problem{{Node: "x"}, {Node: "y"}, {Node: "z", Warning: true}},
		Tunnel: tunnel.Stats{
			FromTUN:  tunnel.Counts{Packets: 201, Bytes: 202},
			ToTUN:    tunnel.Counts{Packets: 203, Bytes: 204},
			FromUDP:  tunnel.Counts{Packets: 205, Bytes: 206},
			ToUDP:    tunnel.Counts{Packets: 207, Bytes: 208},
			TUNReads: tunnel.Counts{Packets: 209, Bytes: 210},
			Drops:    map[tunnel.DropReason]uint64{"tun-write": 211, "udp-send": 212},
			Failing:  "the UDP reader ended",
		},
		Steering: steering.Status{
			Devices: []steering.Attachment{
				{Device: steering.Device{Name: "eth0"}, Mechanism: "tcx"},
				{Device: steering.Device{Name: "vxlan0"}, Mechanism: "clsact", Error: "gone"},
			},
			Verdicts: []steering.Verdict{
				{Hook: "egress", Verdict: "encrypt", Packets: 301, Bytes: 302},
				{Hook: "egress", Verdict: "drop", Reason: "unknown_peer", Packets: 303, Bytes: 304},
			},
			Unsteerable: []steering.Device{{Name: "macvlan0"}},
			Repairs: []steering.Repair{
				{Layer: "program", What: "guard on the egress of eth0", Times: 305},
				{Layer: "program", What: "steer on the egress of eth0", Times: 1},
				{Layer: "route", What: "route to 10.244.2.0/24", Times: 307},
			},
			Failing: "eth1: no such device",
		},
	}
}

// collect scrapes a collector over s, checked as a pedantic registry does.
func collect(t *testing.T, s dataplane.Status) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(newCollector(s)); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func newCollector(s dataplane.Status) *metrics.Collector {
	return metrics.NewCollector(func() dataplane.Status { return s }, build)
}

func TestMetricsText(t *testing.T) {
	got := collect(t, sample())
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", golden, diff)
	}
}

func TestMetricsLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(newCollector(sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Every metric that is described is collected from a status that has all, so
// that none is forgotten and the golden text shows each.
func TestMetricsComplete(t *testing.T) {
	descs := make(chan *prometheus.Desc, 100)
	newCollector(sample()).Describe(descs)
	close(descs)
	text := collect(t, sample())
	n := 0
	for d := range descs {
		n++
		name := strings.Split(d.String(), `"`)[1]
		if !strings.Contains(text, "# TYPE "+name+" ") {
			t.Errorf("%s is described but not collected", name)
		}
	}
	if got := strings.Count(text, "# TYPE "); got != n {
		t.Errorf("%d metrics collected, %d described", got, n)
	}
}

// Whatever is told of a peer says which node it is: a key alone tells people nothing.
func TestMetricsNamePeers(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(newCollector(sample())); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			_, keyed := labels["public_key"]
			if !keyed && !strings.HasPrefix(f.GetName(), "wireguard_peer_") && !strings.HasPrefix(f.GetName(), "wgsteer_peer_") {
				continue
			}
			found++
			if !slices.Contains([]string{"node-a", "node-b", "node-c"}, labels["name"]) {
				t.Errorf("%s has the labels %v, and no node's name", f.GetName(), labels)
			}
		}
	}
	if want := 1 + 2*(4+2*2); found != want { // the device; of two peers 4 by WireGuard, 2 by steering in 2 directions
		t.Errorf("%d metrics of peers and keys, want %d", found, want)
	}
}

// What the kernel's WireGuard does not count is left out: 0 would be a lie.
func TestMetricsOfKernel(t *testing.T) {
	status := sample()
	status.Backend = dataplane.Kernel
	text := collect(t, status)
	for part, want := range map[string]bool{
		`end="udp"`: true, "\nwgsteer_tunnel_drops{": true, "\nwireguard_peer_receive_bytes_total{": true,
		`end="tun"`: false, "wgsteer_tun_read_": false,
	} {
		if strings.Contains(text, part) != want {
			t.Errorf("%q is told: %v, want %v", part, !want, want)
		}
	}
}

// Before Run there is little to tell, and a scrape works.
func TestMetricsOfNothing(t *testing.T) {
	if text := collect(t, dataplane.Status{State: dataplane.Stopped, Interface: "wgsteer0"}); !strings.Contains(text, `wgsteer_ready{device="wgsteer0"} 0`) {
		t.Errorf("not ready is not said:\n%s", text)
	}
}
