package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/wgkey"
)

// unpack returns the files of an archive by their name in its one directory.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	dirs := map[string]bool{}
	for r := tar.NewReader(zip); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", header.Name, header.Mode)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		dir, name := filepath.Split(header.Name)
		dirs[dir] = true
		files[name] = string(data)
	}
	if len(dirs) != 1 {
		t.Errorf("directories %v, want one", dirs)
	}
	return files
}

// Of a configuration file only what is known is shown; what an error repeats of the
// rest is withheld elsewhere.
func TestKnownFields(t *testing.T) {
	const file = `# token: in-a-comment
node: node-a
clusterCIDRs:
- 10.244.0.0/16   # token-in-a-comment
bearerToken: a-token-that-nobody-knows
source:
  directory: /etc/wgsteer/nodes
  password: |
    first-line-of-it
    second-line-of-it
log: {level: info}
stateDir: {oops: secret-in-a-mapping}
extra: {deep: [in-a-list-of-it]}
clusterCIDR: [10.245.0.0/16]
`
	got := knownFields("c.yaml", []byte(file), "h")
	want := `node: node-a
clusterCIDRs: [10.244.0.0/16]
# line 5: an unknown field, not shown
source:
  directory: /etc/wgsteer/nodes
  # line 8: an unknown field, not shown
log:
  level: info
stateDir:
  # line 12: an unknown field, not shown
# line 13: an unknown field, not shown
# line 14: an unknown field, not shown
`
	shown, wrong, _ := strings.Cut(got, "# it is wrong:\n")
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w := newWithheld()
	w.hide(unknownValues("c.yaml", []byte(file), "h")...)
	_, err := parseConfig("c.yaml", []byte(file), nodeNames{host: "h"})
	all := got + string(w.clean([]byte(err.Error()+"\n10.245.0.0/16 stays, as does in-a-comment")))
	for _, secret := range []string{"that-nobody-knows", "first-line-of-it", "second-line-of-it", "secret-in-a-mapping", "in-a-list-of-it"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in\n%s", secret, all)
		}
	}
	if !strings.Contains(wrong, "# c.yaml:5: unknown field; known are ") || !strings.HasSuffix(all, "10.245.0.0/16 stays, as does in-a-comment") {
		t.Errorf("got\n%s", all)
	}
	for name, text := range map[string]string{"not YAML": "a: [a-secret-of-mine\n", "no mapping": "a-secret-of-mine\n", "nothing": ""} {
		if got := knownFields("c.yaml", []byte(text), "h"); strings.Contains(got, "secret") || !strings.HasPrefix(got, "# no fields\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestWithheld(t *testing.T) {
	key, err := wgkey.ParsePrivateKey("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=") // RFC 7748, 6.1
	if err != nil {
		t.Fatal(err)
	}
	raw := key.Reveal()
	w := newWithheld()
	w.hideKey(key)
	known := wgkey.PublicKey{1, 2, 3}
	w.allow(known)
	for text, want := range map[string]string{
		"key " + key.RevealBase64() + ".":              "key (withheld).",
		"key=" + key.RevealHex():                       "key=(withheld)",
		"KEY=" + strings.ToUpper(key.RevealHex()):      "KEY=(withheld)",
		"raw " + string(raw[:]) + "!":                  "raw (withheld)!",
		"/x/" + wgkey.PublicKey{9}.String():            "/x/(withheld)", // 3 and 44 characters, of which the last 44 go
		"peer " + known.String() + " answers":          "peer " + known.String() + " answers",
		"own " + key.Public().String():                 "own " + key.Public().String(),
		"seal sha256:" + strings.Repeat("0a", 32):      "seal sha256:(withheld)",
		"token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2ln": "token (withheld)",
		"Authorization: Bearer 12345.abcdef-":          "Authorization: (withheld)",
		"10.244.0.0/16 via 192.0.2.1":                  "10.244.0.0/16 via 192.0.2.1",
		"/sys/fs/bpf/wgsteer/wgsteer0/maps/peer_names": "/sys/fs/bpf/wgsteer/wgsteer0/maps/peer_names",
	} {
		if got := string(w.clean([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// The log's end: not more than that, and without what the file's unknown fields hold.
func TestLogRing(t *testing.T) {
	ring := new(logRing)
	for range ringLines + 5 {
		_, _ = ring.Write([]byte("a line\n"))
	}
	got := string(ring.text())
	if lines := strings.Count(got, "\n"); lines != ringLines+1 || !strings.HasPrefix(got, "(5 older lines are not kept)\na line\n") {
		t.Errorf("%d lines, starting %.40q", lines, got)
	}
	for range 400 {
		_, _ = ring.Write(bytes.Repeat([]byte("x"), 2*ringLine))
	}
	if got := ring.text(); len(got) > ringBytes+100 || !bytes.HasSuffix(got, []byte("x (cut)\n")) {
		t.Errorf("%d bytes are kept", len(got))
	}

	d := stopped(t)
	client := serveControl(t, d)
	text, err := os.ReadFile(d.config.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.config.File, append(text, "apiToken: a-token-that-nobody-knows\nmtu: big\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	reloaded := d.reload(t.Context())
	if reloaded == nil || !strings.Contains(reloaded.Error(), "nobody-knows") {
		t.Fatalf("reload: %v", reloaded) // the case is still the case
	}
	d.log.Error("reload", "error", reloaded)
	d.log.Debug("not kept at level info")
	kept, err := client.fetch(t.Context(), "GET", pathLog)
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]bool{"level=ERROR msg=reload": true, "mtu: a whole number": true, "unknown field": true, "nobody-knows": false, "not kept": false} {
		if strings.Contains(string(kept), part) != want {
			t.Errorf("%q is there: %v, want %v, in\n%s", part, !want, want, kept)
		}
	}
}

// A part that fails, hangs, panics or is too large is told of, and the others are there.
func TestBugreportParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &bugreport{name: "dir", withheld: newWithheld()}
		parts := []part{
			{name: "good", what: "a good one", read: func(context.Context) ([]byte, error) { return []byte("fine"), nil }},
			{name: "bad", what: "a bad one", read: func(context.Context) ([]byte, error) { return nil, errors.New("no such thing") }},
			{name: "half", what: "half of one", read: func(context.Context) ([]byte, error) { return []byte("a half"), errors.New("the rest is gone") }},
			{name: "slow", what: "a slow one", read: func(context.Context) ([]byte, error) { time.Sleep(time.Hour); return []byte("late"), nil }},
			{name: "mad", what: "a mad one", read: func(context.Context) ([]byte, error) { panic("at the disco") }},
			{name: "big", what: "a big one", read: func(context.Context) ([]byte, error) { return make([]byte, partSize+7), nil }},
		}
		start := time.Now()
		for i := range parts {
			parts[i].fetch(t.Context())
			parts[i].clean(r.withheld)
		}
		if took := time.Since(start); took != partTimeout {
			t.Errorf("took %s, want the timeout of the slow one, %s", took, partTimeout)
		}
		archive, err := r.archive(parts)
		if err != nil {
			t.Fatal(err)
		}
		files := unpack(t, archive)
		if files["good"] != "fine" || files["half"] != "a half" || len(files["big"]) != partSize || len(files) != 4 {
			t.Errorf("%d files, good %q, half %q, big %d bytes", len(files), files["good"], files["half"], len(files["big"]))
		}
		for _, want := range []string{"(7 more are cut)", "because: no such thing", "because: the rest is gone", "slow, a slow one\n  because: not done within 10s", "at the disco"} {
			if !strings.Contains(files["README.txt"], want) {
				t.Errorf("README.txt lacks %q:\n%s", want, files["README.txt"])
			}
		}
		time.Sleep(time.Hour) // the slow one ends in the test
	})
}

func TestBugreportOut(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "missing.yaml")
	for name, tt := range map[string]struct {
		args     []string
		terminal bool
		want     int
		stderr   string
	}{
		"a terminal":       {[]string{"--out", "-"}, true, exitUsage, "nothing for a terminal"},
		"a device":         {[]string{"--out", "/dev/null"}, false, exitUsage, "--out /dev/null: it is there, and no regular file"},
		"a directory":      {[]string{"--out", dir}, false, exitUsage, "no regular file"},
		"nowhere to write": {[]string{"--out", dir + "/no/such/x.tar.gz"}, false, exitFailed, "in a directory that can be written"},
	} {
		e, _, stderr := testEnv()
		e.StdoutTerminal = tt.terminal
		if code := run(t.Context(), append([]string{"bugreport", "--config", config}, tt.args...), e); code != tt.want || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: %d %q, want %d %q", name, code, stderr, tt.want, tt.stderr)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	if got := reportName("../a b/node.x", time.Unix(0, 0)); got != "wgsteer-bugreport-node.x-19700101T000000Z" {
		t.Errorf("name %q", got)
	}
}

// Whatever else is in a file, what an unknown field holds is not shown.
func FuzzKnownFields(f *testing.F) {
	for _, s := range []string{"", "node: a", "log: {level: debug}", "? [a]\n: b", "<<: {node: a}", "node: !!str 7", "- &a [*a]", "node: |\n  a\n", "a:", "source:\n  x: [{y: z}]", "log:"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const secret = "a-token-that-nobody-knows"
		text = append(text, "\nunknownField: "+secret+"\n"...)
		w := newWithheld()
		w.hide(unknownValues("f", text, "h")...)
		shown := string(w.clean([]byte(knownFields("f", text, "h"))))
		if strings.Contains(shown, secret) {
			t.Errorf("of\n%s\nis shown\n%s", text, shown)
		}
	})
}
