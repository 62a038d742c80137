package interop_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	cmd := exec.Command(privtest.Tool(t, "tcpdump"), "-i", "eth0", "-U", "--immediate-mode", "-s", "2048", "-B", "65536", "-w", path, "udp")
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
