package interop_test

import (
	"bytes"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// wgctrlClient is one, and prints which.
func wgctrlClient(t *testing.T) *wgctrl.Client {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "golang.zx2c4.com/wireguard/wgctrl").Output()
	if err != nil {
		t.Fatalf("ask for the version of wgctrl: %v", err)
	}
	t.Logf("client: %s", bytes.TrimSpace(version))
	c, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func pointer[T any](v T) *T { return &v }

func ipNet(t *testing.T, s string) net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		t.Fatal(err)
	}
	return *n
}

// texts is a device without counters, and without what Go writes in two ways
// for the same address.
func texts(d *wgtypes.Device) []string {
	lines := []string{d.Type.String(), d.PrivateKey.String(), d.PublicKey.String(), "port", strconv.Itoa(d.ListenPort), "mark", strconv.Itoa(d.FirewallMark)}
	slices.SortFunc(d.Peers, func(a, b wgtypes.Peer) int { return strings.Compare(a.PublicKey.String(), b.PublicKey.String()) })
	for _, p := range d.Peers {
		lines = append(lines, "peer", p.PublicKey.String(), p.PresharedKey.String(), p.Endpoint.String(), p.PersistentKeepaliveInterval.String())
		var ips []string
		for _, ip := range p.AllowedIPs {
			ips = append(ips, ip.String())
		}
		slices.Sort(ips)
		lines = append(lines, ips...)
	}
	return lines
}

// TestWgctrl: each value that wgctrl gives to our tunnel comes back as it was set.
func TestWgctrl(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	o := alone(t)
	c := wgctrlClient(t)
	own, psk := wgtypes.Key(newKey(t).Reveal()), wgtypes.Key(newPresharedKey(t).Reveal())
	one, two := wgtypes.Key(newKey(t).Public()), wgtypes.Key(newKey(t).Public())
	four := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9}
	six := &net.UDPAddr{IP: net.ParseIP("2001:db8::9"), Port: 65535}
	want := &wgtypes.Device{Type: wgtypes.Userspace}
	for _, step := range []struct {
		name   string
		config wgtypes.Config
		then   func()
	}{
		{"the link", wgtypes.Config{PrivateKey: &own, ListenPort: pointer(51820), FirewallMark: pointer(42)}, func() {
			want.PrivateKey, want.PublicKey, want.ListenPort, want.FirewallMark = own, own.PublicKey(), 51820, 42
		}},
		{"two peers", wgtypes.Config{Peers: []wgtypes.PeerConfig{
			{PublicKey: one, PresharedKey: &psk, Endpoint: four, PersistentKeepaliveInterval: pointer(25 * time.Second),
				AllowedIPs: []net.IPNet{ipNet(t, "10.1.0.0/16"), ipNet(t, "fd01::/64")}},
			{PublicKey: two, Endpoint: six, AllowedIPs: []net.IPNet{ipNet(t, "10.2.0.0/16")}},
		}}, func() {
			want.Peers = []wgtypes.Peer{
				{PublicKey: one, PresharedKey: psk, Endpoint: four, PersistentKeepaliveInterval: 25 * time.Second,
					AllowedIPs: []net.IPNet{ipNet(t, "10.1.0.0/16"), ipNet(t, "fd01::/64")}},
				{PublicKey: two, Endpoint: six, AllowedIPs: []net.IPNet{ipNet(t, "10.2.0.0/16")}},
			}
		}},
		{"other values of one", wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: one, UpdateOnly: true, PresharedKey: &wgtypes.Key{},
			Endpoint: six, PersistentKeepaliveInterval: pointer(time.Duration(0)), ReplaceAllowedIPs: true, AllowedIPs: []net.IPNet{ipNet(t, "10.3.0.0/24")}}}},
			func() {
				for i, p := range want.Peers {
					if p.PublicKey == one {
						want.Peers[i] = wgtypes.Peer{PublicKey: one, Endpoint: six, AllowedIPs: []net.IPNet{ipNet(t, "10.3.0.0/24")}}
					}
				}
			}},
		{"an update of nobody", wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: wgtypes.Key(newKey(t).Public()), UpdateOnly: true, Endpoint: four}}}, func() {}},
		{"one removed", wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: one, Remove: true}}}, func() {
			want.Peers = slices.DeleteFunc(want.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == one })
		}},
		{"all replaced", wgtypes.Config{ReplacePeers: true, FirewallMark: pointer(0), Peers: []wgtypes.PeerConfig{{PublicKey: one, Endpoint: four}}}, func() {
			want.FirewallMark, want.Peers = 0, []wgtypes.Peer{{PublicKey: one, Endpoint: four}}
		}},
	} {
		if err := c.ConfigureDevice(o.name, step.config); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		step.then()
		got, err := c.Device(o.name)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(texts(want), texts(got)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestWgctrlCounts: what it reads of a live peer is what our tunnel says itself.
func TestWgctrlCounts(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newLivePair(t)
	d, err := wgctrlClient(t).Device(p.ours.name)
	if err != nil {
		t.Fatal(err)
	}
	own := p.ours.peer(t, p.theirs.key.Public())
	if len(d.Peers) != 1 || !d.Peers[0].LastHandshakeTime.Equal(own.LastHandshake) ||
		uint64(d.Peers[0].ReceiveBytes) != own.RxBytes || uint64(d.Peers[0].TransmitBytes) != own.TxBytes {
		t.Errorf("got %+v, want %+v", d.Peers, own)
	}
}
