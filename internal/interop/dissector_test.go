package interop_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/wgkey"
)

// dissected is one datagram as tshark reads it.
type dissected struct {
	kind      string   // WireGuard's type, or empty where it is none
	malformed string   // what the dissector says against it
	decrypted string   // "1" where a handshake proved itself
	failed    string   // decryption did
	keepalive string   // it is one
	sources   []string // addresses: the underlay's, and that of the packet inside
	payloads  []string // in hexadecimal: of the UDP datagram, and of one inside
}

// markPort is where nobody listens.
const markPort = 51999

// recording writes the wire of a host to a file, until its stop is called, which
// returns the file's path.
func recording(t *testing.T, e end) (stop func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wire.pcap")
	cmd := exec.Command(privtest.Tool(t, "tcpdump"), "-i", "eth0", "-U", "--immediate-mode", "-B", "65536", "-w", path, "udp")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(log)
	if first, err := lines.ReadString('\n'); !strings.Contains(first, "listening on") {
		t.Fatalf("tcpdump: %s%v", first, err)
	}
	return func() string {
		last := make([]byte, 16) // a mark: when it is in the file, so is all before
		_, _ = rand.Read(last)   // it never fails
		c := e.dialTo(t, "udp", netip.AddrPortFrom(end{n: 3 - e.n}.outer4(), markPort))
		if _, err := c.Write(last); err != nil {
			t.Fatal(err)
		}
		until(t, "mark in the recording", func() bool {
			data, err := os.ReadFile(path)
			return err == nil && bytes.Contains(data, last)
		})
		_ = cmd.Process.Signal(syscall.SIGINT)
		rest, _ := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("\n0 packets dropped by kernel")) {
			t.Fatalf("tcpdump: %v\n%s", err, rest)
		}
		return path
	}
}

// dissect has tshark read a recording, with the keys of a log.
func dissect(t *testing.T, recording, keys string) []dissected {
	t.Helper()
	log := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(log, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := []string{"wg.type", "_ws.malformed", "wg.handshake_ok", "wg.decryption_error", "wg.keepalive", "ip.src", "ipv6.src", "udp.payload"}
	args := []string{"-n", "-r", recording, "-Y", fmt.Sprintf("udp.port != %d", markPort), "-o", "wg.keylog_file:" + log, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"}
	for _, e := range []string{"51001", "51002"} {
		args = append(args, "-d", "udp.port=="+e+",wg")
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	tshark := privtest.Tool(t, "tshark")
	version, err := exec.Command(tshark, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	t.Log("dissector: " + first)
	var complaints strings.Builder
	cmd := exec.Command(tshark, args...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, complaints.String())
	}
	var all []dissected
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(f) != len(fields) {
			t.Fatalf("tshark printed %q", line)
		}
		all = append(all, dissected{f[0], f[1], f[2], f[3], f[4],
			strings.FieldsFunc(f[5]+","+f[6], isComma), strings.FieldsFunc(f[7], isComma)})
	}
	return all
}

func isComma(r rune) bool { return r == ',' }

// keyLog is what tshark wants to know of one end and its handshakes. A key
// counts for the handshakes behind it in the file.
func keyLog(own wgkey.PrivateKey, other wgkey.PublicKey, psk wgkey.PresharedKey, ephemerals [][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "LOCAL_STATIC_PRIVATE_KEY=%s\nREMOTE_STATIC_PUBLIC_KEY=%s\n", own.RevealBase64(), other)
	for _, e := range ephemerals {
		fmt.Fprintf(&b, "LOCAL_EPHEMERAL_PRIVATE_KEY=%s\nPRESHARED_KEY=%s\n", base64.StdEncoding.EncodeToString(e), psk.RevealBase64())
	}
	return b.String()
}

// wellFormed wants every datagram to be a whole message of WireGuard, and counts
// the types.
func wellFormed(t *testing.T, all []dissected) map[string]int {
	t.Helper()
	kinds := map[string]int{}
	for n, d := range all {
		if d.malformed != "" || !strings.Contains(" 1 2 3 4 ", " "+d.kind+" ") {
			t.Errorf("datagram %d: type %q, %s", n+1, d.kind, d.malformed)
		}
		kinds[d.kind]++
	}
	t.Logf("%d datagrams, by type: %v", len(all), kinds)
	return kinds
}

// carried wants every transport message to be a keepalive or to decrypt to a
// packet, and all payloads inside, each as often as it was sent.
func carried(t *testing.T, all []dissected, sent [][]byte, times int) {
	t.Helper()
	inside := map[string]int{}
	for _, d := range all {
		if d.kind == "4" && (d.failed != "" || d.keepalive == "" && len(d.sources) != 2) {
			t.Errorf("not decrypted, %q: from %v, %d payloads", d.failed, d.sources, len(d.payloads))
		}
		if len(d.payloads) > 1 {
			inside[d.payloads[len(d.payloads)-1]]++
		}
	}
	for _, p := range sent {
		if n := inside[hex.EncodeToString(p)]; n != times {
			t.Errorf("a payload of %d bytes is %d times inside, want %d", len(p), n, times)
		}
	}
}

// TestDissectedByHand: the keys are those of an initiator that logs them.
func TestDissectedByHand(t *testing.T) {
	b := newByHand(t)
	stop := recording(t, b.ours.end)
	i := b.shakeHands(t, 1)
	var sent [][]byte
	for size := range 20 {
		payload := make([]byte, 8+61*size)
		_, _ = rand.Read(payload) // it never fails
		b.echoed(t, i, payload)
		sent = append(sent, payload)
	}
	path := stop()
	all := dissect(t, path, keyLog(b.theirs.key, b.ours.key.Public(), b.psk, [][]byte{i.ephemeral.Bytes()}))
	if kinds := wellFormed(t, all); kinds["1"] != 1 || kinds["2"] != 1 || all[1].decrypted != "1" {
		t.Errorf("types %v; the response decrypts: %q", kinds, all[1].decrypted)
	}
	carried(t, all, sent, 2) // there and back
	// Without the key nothing is to be read: the test before was of decryption.
	for _, d := range dissect(t, path, "") {
		if len(d.payloads) > 1 {
			t.Fatal("a payload can be read without a key")
		}
	}
}

// eavesdropper keeps what is read of randomness in the size of a key: among it
// is every ephemeral key that this process makes.
type eavesdropper struct {
	io.Reader
	mu   sync.Mutex // guards keys
	keys [][]byte
}

func (e *eavesdropper) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if n == wgkey.Size {
		k := bytes.Clone(b)
		k[0], k[31] = k[0]&248, k[31]&127|64 // as Curve25519's are
		e.mu.Lock()
		e.keys = append(e.keys, k)
		e.mu.Unlock()
	}
	return n, err
}

// TestDissected: all four types of message between our engine and stock
// wireguard-go, bulk included, parse, and decrypt by our engine's own keys, which
// are had by listening to the randomness that it draws.
func TestDissected(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	drawn := &eavesdropper{Reader: rand.Reader}
	rand.Reader = drawn // before anything else runs in this process
	psk := newPresharedKey(t)
	p := newPair(t, implementations[0])
	t.Log("other end: " + versionOfGo(t))
	for _, e := range []end{p.ours.end, p.theirs.end} {
		e.Sh(t, "ip link set eth0 gso_max_segs 1") // a train is seen as its datagrams
	}
	stop := recording(t, p.ours.end)
	p.connect(t, "initiator", false, psk)
	c := p.ours.dial(t, "udp", p.theirs.inner4())
	var sent [][]byte
	for _, size := range []int{1, 100, 1000, 1392} {
		payload := make([]byte, size)
		_, _ = rand.Read(payload) // it never fails
		until(t, "echo", func() bool { return echo(c, payload, patience) })
		sent = append(sent, payload)
	}
	p.carry(t)
	flood(t, p.theirs.flooder(), p.ours.outer(false), p.ours.key.Public())
	until(t, "cookie", func() bool { return p.tap.count(ofKind(cookie, true)) > 0 })
	drawn.mu.Lock()
	keys := drawn.keys
	drawn.mu.Unlock()
	all := dissect(t, stop(), keyLog(p.ours.key, p.theirs.key.Public(), psk, keys))
	if kinds := wellFormed(t, all); len(kinds) != 4 {
		t.Errorf("types %v, want all four", kinds)
	}
	carried(t, all, sent, 2)
}
