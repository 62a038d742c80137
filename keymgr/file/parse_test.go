package file

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

const testKey = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=" // RFC 7748, section 6.1

var netipValues = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func fullNode() keymgr.Node {
	key, err := wgkey.ParsePublicKey(testKey)
	if err != nil {
		panic(err)
	}
	return keymgr.Node{
		Name: "node-a", PublicKey: key, Endpoint: netip.MustParseAddrPort("[2001:db8::1]:51871"),
		NodeIPs:             []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		PodCIDRs:            []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:0:0:1::/64")},
		PersistentKeepalive: 25 * time.Second,
		Backend:             "kernel",
		BackendReason:       "auto: the kernel has WireGuard",
	}
}

func TestParseSound(t *testing.T) {
	const head = "name: node-a\npublicKey: " + testKey + "\n"
	bare := keymgr.Node{Name: "node-a", PublicKey: fullNode().PublicKey}
	withIPs := bare
	withIPs.NodeIPs = []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::")}
	tests := []struct {
		name, text string
		want       keymgr.Node
		warnings   []string
	}{
		{name: "bare", text: head, want: bare},
		{name: "full", want: fullNode(), text: head + `
endpoint: "[2001:db8::1]:51871"
nodeIPs: [192.0.2.1, "2001:db8::1"]
podCIDRs:
  - 10.244.1.0/24
  - fd00:0:0:1::/64
persistentKeepalive: 25s
backend: kernel
backendReason: "auto: the kernel has WireGuard"
`},
		{name: "JSON", text: `{"name": "node-a", "publicKey": "` + testKey + `"}`, want: bare},
		{name: "Windows line ends", text: strings.ReplaceAll(head, "\n", "\r\n"), want: bare},
		{name: "no line end", text: strings.TrimSuffix(head, "\n"), want: bare},
		{name: "document marks and comments", text: "# x\n---\n" + head + "# y\n...\n", want: bare},
		{name: "empty values are absent fields", text: head + "endpoint:\nnodeIPs:\npodCIDRs: []\npersistentKeepalive:\nbackend:\nbackendReason:\n", want: bare},
		{name: "empty endpoint", text: head + "endpoint: ''\n", want: bare},
		{name: "IPv6 in a list", text: head + "nodeIPs:\n- fd00::1\n- '2001:db8::'\n", want: withIPs},
		{name: "no backend's name", text: head + "backend: [kernel]\n", want: bare, warnings: []string{"line 3: backend: is no word such as kernel, and ignored"}},
		{name: "no reason", text: head + "backendReason: [x]\n", want: bare, warnings: []string{"line 3: backendReason: is no text of one line, and ignored"}},
		{name: "a reason of two lines", text: head + "backendReason: \"x\\ny\"\n", want: bare, warnings: []string{"line 3: backendReason: is no text of one line, and ignored"}},
		{name: "a backend's name that is none", text: head + "backend: 'x y'\n", want: bare, warnings: []string{"line 3: backend: is no word such as kernel, and ignored"}},
		{name: "unknown fields", text: head + "zone: eu\nlabels: {a: [1, &x 2, *x]}\n", want: bare, warnings: []string{
			`line 3: unknown field "zone" is ignored; a newer version may know it`,
			`line 4: unknown field "labels" is ignored; a newer version may know it`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, findings := parse("node-a", []byte(tt.text))
			var warnings []string
			for _, f := range findings {
				if !f.warning {
					t.Errorf("refused: %s", f.message())
				}
				warnings = append(warnings, f.message())
			}
			if diff := cmp.Diff(tt.want, got, netipValues); diff != "" {
				t.Errorf("node (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const name, key = "name: node-a\n", "publicKey: " + testKey + "\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"the record is empty"}},
		{"comment", "# nothing\n", []string{"the record is empty"}},
		{"null", "~\n", []string{"the record is empty"}},
		{"text", "node-a\n", []string{"line 1: the record is not a list of fields such as `name: node-a`"}},
		{"list", "- name: node-a\n", []string{"line 1: the record is not a list of fields such as `name: node-a`"}},
		{"not UTF-8", name + "x: \xff\n", []string{"the record is not UTF-8 text"}},
		{"zero byte", name + "x: \x00\n", []string{"the record is not UTF-8 text"}},
		{"too big", name + key + "#" + strings.Repeat("x", maxRecord), []string{"the record has more than 65536 bytes"}},
		{"two records", name + key + "---\n" + name + key, []string{"line 4: a file holds one record; put the second one into a file of its own"}},
		{"broken", name + "publicKey: 'x\n", []string{"line 2: not YAML: could not find end character of single-quoted text"}},
		{"deep flow", name + key + "x: " + strings.Repeat("[", 30000), []string{"line 3: values are nested more than 16 deep"}},
		{"deep list", name + key + "x:\n " + strings.Repeat("- ", 30000), []string{"line 4: values are nested more than 16 deep"}},
		{"twice", name + key + name, []string{"line 3: not YAML: mapping key \"name\" already defined at [1:1]"}},
		{"undefined alias", name + "publicKey: *key\n", []string{"line 2: publicKey: anchors, aliases and tags are not used in records; write the value out"}},
		{"anchor", name + "publicKey: &k " + testKey + "\n", []string{"line 2: publicKey: anchors, aliases and tags are not used in records; write the value out"}},
		{"tag", "name: !!str node-a\n" + key, []string{"line 1: name: anchors, aliases and tags are not used in records; write the value out"}},
		{"merge", "x: &x {name: node-a}\n<<: *x\n" + name + key, []string{"line 2: a field's name is plain text; keys of other kinds and merges are not used in records"}},
		{"key that is a number", name + key + "1: x\n", []string{"line 3: a field's name is plain text; keys of other kinds and merges are not used in records"}},

		{"nothing required", "endpoint: 192.0.2.1:1\n", []string{"name: is missing", "publicKey: is missing"}},
		{"null name", "name:\n" + key, []string{"name: is missing"}},
		{"other name", "name: node-b\n" + key, []string{`line 1: name: "node-b" does not match the file's name; expected "node-a"`}},
		{"number as name", "name: 12\n" + key, []string{`line 1: name: "12" is a number or a truth value; put text into quotes`}},
		{"truth as name", "name: true\n" + key, []string{`line 1: name: "true" is a number or a truth value; put text into quotes`}},
		{"list as name", "name: [node-a]\n" + key, []string{"line 1: name: is a list or a mapping; one text was expected"}},
		{"mapping as name", "name: {a: b}\n" + key, []string{"line 1: name: is a list or a mapping; one text was expected"}},
		{"block as key", name + "publicKey: |\n  " + testKey + "\n", []string{"line 2: publicKey: is not one line of text"}},
		{"wrong name", "name: a/b\n" + key, []string{`line 1: name: "a/b": a node's name has only letters, digits, '.', '_' and '-'`}},

		{"short key", name + "publicKey: AAAA\n", []string{`line 2: publicKey: public key "AAAA": 3 bytes; a key has 32`}},
		{"zero key", name + "publicKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
			[]string{`line 2: publicKey: public key "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=": all zero is not a key`}},
		{"long key", name + "publicKey: " + strings.Repeat("x", 100) + "\n",
			[]string{`line 2: publicKey: "` + strings.Repeat("x", 64) + `"... is not a public key: expected the 44 characters that wg prints`}},
		{"host name", name + key + "endpoint: node-a:51871\n",
			[]string{`line 3: endpoint: "node-a:51871" is not an IP address and port such as 192.0.2.1:51871 or [2001:db8::1]:51871; host names are not looked up`}},
		{"endpoint among pods", name + key + "endpoint: 10.244.1.1:1\npodCIDRs: [10.244.1.0/24]\n",
			[]string{"line 3: endpoint: 10.244.1.1:1 is within pod CIDR 10.244.1.0/24; the tunnel's own packets would be sent into it"}},
		{"node IP", name + key + "nodeIPs:\n- 192.0.2.1\n- 192.0.2.300\n", []string{`line 5: nodeIPs[1]: "192.0.2.300" is not an IP address`}},
		{"node IP twice", name + key + "nodeIPs: [192.0.2.1, 192.0.2.1]\n", []string{`line 3: nodeIPs[1]: "192.0.2.1" occurs twice`}},
		{"host bits", name + key + "podCIDRs: [10.244.1.5/24]\n", []string{`line 3: podCIDRs[0]: "10.244.1.5/24" has host bits; write 10.244.1.0/24`}},
		{"overlap", name + key + "podCIDRs:\n  - 10.244.0.0/16\n  - 10.244.1.0/24\n", []string{`line 5: podCIDRs[1]: "10.244.1.0/24" overlaps 10.244.0.0/16 of the same record`}},
		{"no list", name + key + "podCIDRs: 10.244.1.0/24\n", []string{`line 3: podCIDRs: "10.244.1.0/24" is not a list; put it into [ ]`}},
		{"mapping for a list", name + key + "podCIDRs: {a: b}\n", []string{"line 3: podCIDRs: is not a list such as [a, b]"}},
		{"list in a list", name + key + "podCIDRs: [[10.244.1.0/24]]\n", []string{"line 3: podCIDRs[0]: is a list or a mapping; one text was expected"}},
		{"keepalive in seconds", name + key + "persistentKeepalive: 25\n", []string{`line 3: persistentKeepalive: "25" is a number or a truth value; put text into quotes`}},
		{"keepalive without a unit", name + key + "persistentKeepalive: '25'\n", []string{`line 3: persistentKeepalive: "25" is not a duration such as 25s`}},
		{"keepalive too fine", name + key + "persistentKeepalive: 1500ms\n", []string{`line 3: persistentKeepalive: "1500ms" is not a whole number of seconds`}},
		{"keepalive too long", name + key + "persistentKeepalive: 20h\n", []string{`line 3: persistentKeepalive: "20h" is not between 0s and 65535s`}},
		{"negative keepalive", name + key + "persistentKeepalive: -1s\n", []string{`line 3: persistentKeepalive: "-1s" is not between 0s and 65535s`}},
		{"several", name + "publicKey: x\nnodeIPs: [a]\npodCIDRs: [b]\n", []string{
			`line 2: publicKey: public key "x": not base64; expected the 44 characters that wg prints`,
			`line 3: nodeIPs[0]: "a" is not an IP address`,
			`line 4: podCIDRs[0]: "b" is not an IP prefix such as 10.244.1.0/24`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, findings := parse("node-a", []byte(tt.text))
			var got []string
			for _, f := range findings {
				if !f.warning {
					got = append(got, f.message())
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseShowsNoSecret reads files that a link may lead to.
func TestParseShowsNoSecret(t *testing.T) {
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
	for _, text := range []string{
		secret + "\n# wgsteer private-key v1 sha256:00\n",
		"[Interface]\nPrivateKey = " + secret + "\n",
		"privateKey: " + secret + "\n",
		"- " + secret + "\n",
		"a: b: " + secret + "\n",
		"a: '" + secret + "\n",
		"{" + secret + "\n",
		"{a: " + secret + "\n",
		"root:" + secret + ":19000:0:99999:7:::\nbin:*:1::\n",
		"\t" + secret + ": x\n",
		secret + ": x\n" + secret + ": x\n",
		"a: !" + secret + "\n",
		"%YAML " + secret + "\n---\n",
		"name: node-a\npodCIDRs: !" + secret + " [a]\n",
	} {
		_, findings := parse("node-a", []byte(text))
		if len(findings) == 0 {
			t.Errorf("accepted: %q", text)
		}
		for _, f := range findings {
			if strings.Contains(f.message(), secret[:8]) {
				t.Errorf("record %q: the message shows the secret: %s", text, f.message())
			}
		}
	}
}

func TestRender(t *testing.T) {
	got, err := render(fullNode())
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Written by wgsteer on this node, which overwrites what is changed here.
name: node-a
publicKey: ` + testKey + `
endpoint: "[2001:db8::1]:51871"
nodeIPs:
- 192.0.2.1
- 2001:db8::1
podCIDRs:
- 10.244.1.0/24
- fd00:0:0:1::/64
persistentKeepalive: 25s
backend: kernel
backendReason: "auto: the kernel has WireGuard"
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestRenderNames has names that YAML might take for something else.
func TestRenderNames(t *testing.T) {
	for _, name := range []string{"1", "1e3", "0x1f", "0o7", "1.5", "1_000", "true", "no", "Null", "nan", "2026-01-01", "a.b", "0b1", "123.", "y"} {
		n := fullNode()
		n.Name = name
		if _, err := render(n); err != nil { // render reads it back
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*keymgr.Node){
		`a node needs a name`: func(n *keymgr.Node) { n.Name = "" },
		`all zero is not a key`: func(n *keymgr.Node) {
			n.PublicKey = wgkey.PublicKey{}
		},
		`nodeIPs[0]: "127.0.0.1": a loopback address reaches no other node`: func(n *keymgr.Node) {
			n.NodeIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		},
		`podCIDRs[0]: "10.244.1.5/24" has host bits; write 10.244.1.0/24`: func(n *keymgr.Node) {
			n.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.1.5/24")}
		},
		`persistentKeepalive: "1.5s" is not a whole number of seconds`: func(n *keymgr.Node) {
			n.PersistentKeepalive = 1500 * time.Millisecond
		},
	} {
		n := fullNode()
		spoil(&n)
		if _, err := render(n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzRecord: whatever is accepted reads the same after it was written again,
// and what is refused says why in a bounded text.
func FuzzRecord(f *testing.F) {
	full, err := render(fullNode())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, s := range []string{"", "{", "name: node-a\npublicKey: " + testKey, "name: &a node-a\nx: *a\n", "- - - a", "a: |\n b", "? a\n: b", "<<: {name: node-a}", "name: \"node-a\"\n'publicKey': " + testKey} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, findings := parse("node-a", data)
		for _, x := range findings {
			if len(x.message()) > 1000 {
				t.Errorf("message of %d bytes", len(x.message()))
			}
		}
		if !usable(findings) {
			return
		}
		again, err := render(n)
		if err != nil {
			t.Fatalf("accepted, but not writable: %v\n%q", err, data)
		}
		back, findings := parse("node-a", again)
		if len(findings) > 0 || !back.Equal(n) {
			t.Fatalf("%q reads as %+v, written again as %+v (%v)", data, n, back, findings)
		}
	})
}

// TestHostileRecordsAreQuick would take minutes without the bound on nesting,
// and takes at most a second or two for each with it.
func TestHostileRecordsAreQuick(t *testing.T) {
	for _, unit := range []string{"[", "{", "- ", "? ", "a: ", "!a ", "&a ", "'", "\"a\" ", "|\n ", "---\n", "-\n", "[]", "{a: ", "*a ", "a,", "[a: ", "\n ", "%", "@"} {
		start := time.Now()
		parse("node-a", []byte(strings.Repeat(unit, maxRecord/len(unit))))
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%q repeated took %v", unit, took)
		}
	}
}
