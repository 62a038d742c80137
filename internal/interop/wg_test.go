package interop_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wgkey"
)

// alone starts our tunnel in this process's network namespace, the test's own:
// a port that is set through the UAPI socket is opened in the thread that comes
// first.
func alone(t *testing.T) *ours {
	t.Helper()
	o := &ours{end: newEnd(t, privtest.NewHost(t, 0), 1)}
	o.start(t)
	t.Log("client: " + strings.TrimSpace(o.Sh(t, "wg --version")))
	return o
}

// values are what wg(8) says that is not counted.
type values struct {
	Link  dumpedLink
	Peers []dumpedPeer
}

func valuesOf(t *testing.T, e end) values {
	t.Helper()
	link, peers := dump(t, e)
	for i := range peers {
		peers[i].handshake, peers[i].rx, peers[i].tx = "", "", ""
		ips := strings.Split(peers[i].allowed, ",")
		slices.Sort(ips)
		peers[i].allowed = strings.Join(ips, ",")
	}
	slices.SortFunc(peers, func(a, b dumpedPeer) int { return strings.Compare(a.key, b.key) })
	return values{link, peers}
}

// compareValues works on the unexported fields.
var compareValues = cmp.AllowUnexported(dumpedLink{}, dumpedPeer{})

// TestWGSet: each value that wg set gives to our tunnel comes back as it was set.
func TestWGSet(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	o := alone(t)
	own, one, two := newKey(t), newKey(t).Public().String(), newKey(t).Public().String()
	psk := newPresharedKey(t).RevealBase64()
	none := values{Link: dumpedLink{"(none)", "(none)", "0", "off"}}
	if diff := cmp.Diff(none, valuesOf(t, o.end), compareValues); diff != "" {
		t.Fatalf("a new tunnel (-want +got):\n%s", diff)
	}
	want := none
	peer := func(key string) *dumpedPeer {
		i := slices.IndexFunc(want.Peers, func(p dumpedPeer) bool { return p.key == key })
		if i < 0 {
			i = len(want.Peers)
			want.Peers = append(want.Peers, dumpedPeer{key: key, psk: "(none)", endpoint: "(none)", allowed: "(none)", keepalive: "off"})
		}
		return &want.Peers[i]
	}
	for _, step := range []struct {
		args, input string
		then        func()
	}{
		{"private-key /proc/self/fd/0", own.RevealBase64(), func() {
			want.Link.privateKey, want.Link.publicKey = own.RevealBase64(), own.Public().String()
		}},
		{"listen-port 51820", "", func() { want.Link.port = "51820" }},
		{"fwmark 0x2a", "", func() { want.Link.mark = "0x2a" }},
		{"fwmark 4294967295", "", func() { want.Link.mark = "0xffffffff" }},
		{"fwmark off", "", func() { want.Link.mark = "off" }},
		{"peer " + one, "", func() { peer(one) }},
		{"peer " + one + " allowed-ips 10.1.0.0/16,fd01::/64", "", func() { peer(one).allowed = "10.1.0.0/16,fd01::/64" }},
		{"peer " + one + " preshared-key /proc/self/fd/0", psk, func() { peer(one).psk = psk }},
		{"peer " + one + " endpoint 192.0.2.9:9", "", func() { peer(one).endpoint = "192.0.2.9:9" }},
		{"peer " + one + " persistent-keepalive 1", "", func() { peer(one).keepalive = "1" }},
		{"peer " + one + " persistent-keepalive 65535", "", func() { peer(one).keepalive = "65535" }},
		{"peer " + one + " endpoint [2001:db8::9]:65535", "", func() { peer(one).endpoint = "[2001:db8::9]:65535" }},
		{"peer " + one + " persistent-keepalive off", "", func() { peer(one).keepalive = "off" }},
		{"peer " + one + " preshared-key /dev/null", "", func() { peer(one).psk = "(none)" }},
		{"peer " + two + " allowed-ips 10.1.0.0/16 persistent-keepalive 25 endpoint 192.0.2.8:8", "", func() {
			*peer(two) = dumpedPeer{key: two, psk: "(none)", endpoint: "192.0.2.8:8", allowed: "10.1.0.0/16", keepalive: "25"}
			peer(one).allowed = "fd01::/64" // a prefix belongs to one
		}},
		{"peer " + one + " allowed-ips 10.2.3.4/16,0.0.0.0/0,::/0", "", func() { peer(one).allowed = "0.0.0.0/0,10.2.0.0/16,::/0" }},
		{"peer " + one + " allowed-ips ''", "", func() { peer(one).allowed = "(none)" }},
		{"listen-port 51821 fwmark 7 peer " + two + " remove peer " + one + " allowed-ips 10.9.9.9/32", "", func() {
			want.Link.port, want.Link.mark = "51821", "0x7"
			want.Peers = []dumpedPeer{*peer(one)}
			peer(one).allowed = "10.9.9.9/32"
		}},
		{"peer " + own.Public().String(), "", func() {}}, // nobody is a peer of itself
		{"private-key /dev/null", "", func() { want.Link.privateKey, want.Link.publicKey = "(none)", "(none)" }},
	} {
		o.Feed(t, step.input, "wg set %s %s", o.name, step.args)
		step.then()
		slices.SortFunc(want.Peers, func(a, b dumpedPeer) int { return strings.Compare(a.key, b.key) })
		if diff := cmp.Diff(want, valuesOf(t, o.end), compareValues); diff != "" {
			t.Fatalf("after wg set %s (-want +got):\n%s", step.args, diff)
		}
	}
}

// newLivePair is a pair with a session, ours in this process's namespace.
func newLivePair(t *testing.T) *pair {
	t.Helper()
	p := newPairAt(t, 0, implementations[0])
	t.Log("client: " + strings.TrimSpace(p.ours.Sh(t, "wg --version")) + "; other end: " + versionOfGo(t))
	p.connect(t, "initiator", false, newPresharedKey(t))
	p.ours.ping(t, p.theirs.inner4())
	return p
}

// TestWGShow: every view of our tunnel says the same, and what is so.
func TestWGShow(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newLivePair(t)
	show := func(what string) string { return strings.TrimSpace(p.ours.Sh(t, "wg show %s", what)) }
	link, peers := dump(t, p.ours.end)
	peer := peers[0]
	for what, want := range map[string]string{
		"public-key": link.publicKey, "private-key": link.privateKey, "listen-port": "51001", "fwmark": "off",
		"peers": peer.key, "preshared-keys": peer.key + "\t" + peer.psk, "endpoints": peer.key + "\t192.0.2.2:51002",
		"allowed-ips": peer.key + "\t10.9.0.2/32 fd09::2/128", "latest-handshakes": peer.key + "\t" + peer.handshake,
		"transfer": peer.key + "\t" + peer.rx + "\t" + peer.tx, "persistent-keepalive": peer.key + "\toff",
	} {
		if got := show(p.ours.name + " " + what); got != want {
			t.Errorf("wg show %s: %q, want %q", what, got, want)
		}
	}
	if link.publicKey != p.ours.key.Public().String() || peer.key != p.theirs.key.Public().String() || peer.handshake == "0" || peer.rx == "0" || peer.tx == "0" {
		t.Errorf("link %s, peer %+v", link.publicKey, peer)
	}
	if got := show("interfaces"); !slices.Contains(strings.Fields(got), p.ours.name) {
		t.Errorf("wg show interfaces: %s", got)
	}
	for _, part := range []string{"interface: " + p.ours.name, "listening port: 51001", "preshared key: (hidden)", "endpoint: 192.0.2.2:51002",
		"allowed ips: 10.9.0.2/32, fd09::2/128", "latest handshake: ", "transfer: "} {
		if got := show(p.ours.name); !strings.Contains(got, part) {
			t.Errorf("wg show does not say %q:\n%s", part, got)
		}
	}
}

// TestWGConfigurations: files of wg(8) make our tunnel what they say; where they
// change nothing of a peer, its session goes on.
func TestWGConfigurations(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	p := newLivePair(t)
	conf := func(verb, text string) { p.ours.Feed(t, text, "wg %s %s /proc/self/fd/0", verb, p.ours.name) }
	before, live := valuesOf(t, p.ours.end), p.ours.peer(t, p.theirs.key.Public()).LastHandshake
	written := p.ours.Sh(t, "wg showconf %s", p.ours.name)

	mine, _ := p.configs("initiator", false, wgkey.PresharedKey{})
	mine.Peers = strangers(t, 3)
	_, more, _ := strings.Cut(configText(mine), "[Peer]") // without the link's own
	conf("addconf", "[Peer]"+more)
	if got := valuesOf(t, p.ours.end); len(got.Peers) != 4 {
		t.Errorf("after addconf %d peers", len(got.Peers))
	}
	p.undisturbed(t, live)
	conf("syncconf", written)
	if diff := cmp.Diff(before, valuesOf(t, p.ours.end), compareValues); diff != "" {
		t.Errorf("after syncconf (-want +got):\n%s", diff)
	}
	p.undisturbed(t, live)
	p.theirs.ping(t, p.ours.inner4()) // in the same session: theirs alone does not know that
	conf("setconf", configText(mine))
	if got := valuesOf(t, p.ours.end); len(got.Peers) != 3 || find(got.Peers, p.theirs.key.Public()).key != "" {
		t.Errorf("after setconf of three others there are %d peers", len(got.Peers))
	}
	conf("setconf", written)
	if diff := cmp.Diff(before, valuesOf(t, p.ours.end), compareValues); diff != "" {
		t.Errorf("setconf of what showconf wrote (-want +got):\n%s", diff)
	}
	p.ours.ping(t, p.theirs.inner4()) // in a new one
	if _, peers := dump(t, p.ours.end); find(peers, p.theirs.key.Public()).handshake == "0" {
		t.Error("no handshake since setconf")
	}
}

func find(peers []dumpedPeer, key wgkey.PublicKey) dumpedPeer {
	for _, p := range peers {
		if p.key == key.String() {
			return p
		}
	}
	return dumpedPeer{}
}
