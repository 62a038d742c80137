package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/wgkey"
)

var updateLab = flag.Bool("update-lab", false, "rewrite testdata/lab from what the tests get")

// goodLabReport is what a run of 3 nodes with 2 pods each may find: 36 flows.
func goodLabReport() labReport {
	r := labReport{
		OK:   true,
		Pods: 2, CNI: "vxlan", MTU: 1500,
		Wire: labWire{WireGuardPackets: 4711, ControlPlaintextPodPackets: 5096},
		Steps: []labStep{
			{"check", 0.012}, {"network", 0.81}, {"control", 2.5}, {"tunnels", 1.25},
			{"flows", 2.75}, {"teardown", 0.4},
		},
	}
	for i := range 3 {
		r.Nodes = append(r.Nodes, labNode{
			Name: fmt.Sprintf("node-%c", 'a'+i), Backend: "userspace", Interface: fmt.Sprintf("wgs-demo-%c", 'a'+i),
			PublicKey: wgkey.PublicKey{byte(i + 1), 31: 0x7f},
		})
	}
	for from := range 3 {
		for to := range 3 {
			if from == to {
				continue
			}
			for _, family := range []int{4, 6} {
				for i, protocol := range []string{"tcp", "udp", "icmp"} {
					r.Flows = append(r.Flows, labFlow{
						From:     fmt.Sprintf("node-%c/pod-%d", 'a'+from, i%2+1),
						To:       fmt.Sprintf("node-%c/pod-%d", 'a'+to, i/2+1),
						Protocol: protocol, Family: family, OK: true,
						RTTMs: 0.25 + 0.125*float64(from+i) + 0.01*float64(family), Bytes: 1 << 20,
					})
				}
			}
		}
	}
	return r
}

// failedLabReport lost all UDP over IPv6, and more.
func failedLabReport() labReport {
	r := goodLabReport()
	for i := range r.Flows {
		f := &r.Flows[i]
		if f.Family == 6 && f.Protocol == "udp" || f.Family == 6 && f.From == "node-c/pod-1" {
			f.OK, f.RTTMs, f.Bytes = false, 0, 0
			f.Error = fmt.Sprintf("%s > %s %s IPv6: not done within 10s", f.From, f.To, f.Protocol)
		}
	}
	r.Wire.PlaintextPodPackets = 1
	r.Wire.Plaintext = []string{"10.244.1.2 > 10.244.2.2 UDP"}
	r.Failures = judgeLab(r, len(r.Flows))
	r.OK = false
	r.Logs = "/run/wgsteer-lab/demo"
	return r
}

func TestLabTable(t *testing.T) {
	early := labReport{
		Failures: []string{"start the data plane of node-b: exit status 1"}, Pods: 2, CNI: "bridge", MTU: 1500,
		Steps: []labStep{{"check", 0.012}, {"network", 0.81}}, Logs: "/run/wgsteer-lab/demo",
	}
	for _, test := range []struct {
		name   string
		report labReport
		colour bool
	}{
		{"ok", goodLabReport(), false},
		{"colour", goodLabReport(), true},
		{"failed", failedLabReport(), false},
		{"early", early, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := (labTable{&out, test.colour}).write(test.report); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, test.name+".table", out.Bytes())
			for line := range strings.Lines(out.String()) {
				if !test.colour && !strings.HasPrefix(line, "demo: ") && len(line) > 81 {
					t.Errorf("a line does not fit 80 columns:\n%s", line)
				}
			}
		})
	}
}

// TestLabJSON holds the documented schema: these fields, with these types.
func TestLabJSON(t *testing.T) {
	r := goodLabReport()
	r.Flows = r.Flows[:1]
	out := output{"json"}
	var text bytes.Buffer
	if err := out.print(&text, r, nil); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "ok.json", text.Bytes())

	type documented struct {
		OK    *bool
		Nodes []struct{ Name, Backend, PublicKey *string }
		Flows []struct {
			From, To, Protocol *string
			Family             *int
			OK                 *bool
			RTTMs              *float64
			Bytes              *uint64
		}
		Wire struct{ WireguardPackets, PlaintextPodPackets, ControlPlaintextPodPackets *uint64 }
	}
	var got documented
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{true, 3, 1, "node-a", "node-a/pod-1", 4, uint64(1 << 20), uint64(4711), uint64(0), uint64(5096)},
		[]any{*got.OK, len(got.Nodes), len(got.Flows), *got.Nodes[0].Name, *got.Flows[0].From, *got.Flows[0].Family, *got.Flows[0].Bytes,
			*got.Wire.WireguardPackets, *got.Wire.PlaintextPodPackets, *got.Wire.ControlPlaintextPodPackets}); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// TestLabYAML: one schema, whatever the form.
func TestLabYAML(t *testing.T) {
	var y, j bytes.Buffer
	for _, o := range []struct {
		out output
		w   io.Writer
	}{{output{"yaml"}, &y}, {output{"json"}, &j}} {
		if err := o.out.print(o.w, failedLabReport(), nil); err != nil {
			t.Fatal(err)
		}
	}
	back, err := yaml.YAMLToJSON(y.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var want, got labReport
	if err := json.Unmarshal(j.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(back, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("YAML against JSON (-want +got):\n%s", diff)
	}
}

func TestJudgeLab(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*labReport)
		want   []string
	}{
		{"all well", func(*labReport) {}, nil},
		{"a failed flow", func(r *labReport) { r.Flows[3].OK = false }, []string{"1 of 36 flows failed"}},
		{"a flow not tried", func(r *labReport) { r.Flows = r.Flows[1:] }, []string{"35 flows were tried instead of 36"}},
		{"plaintext", func(r *labReport) { r.Wire.PlaintextPodPackets = 1 },
			[]string{"1 pod packet crossed the wire in plaintext"}},
		{"no WireGuard", func(r *labReport) { r.Wire.WireGuardPackets = 0 },
			[]string{"no WireGuard packet crossed the wire"}},
		{"a capture that lost packets", func(r *labReport) { r.Wire.LostPackets = 2 },
			[]string{"the capture lost 2 packets, so it may have missed plaintext"}},
		{"what cannot be parsed", func(r *labReport) { r.Wire.MalformedPackets = 1 },
			[]string{"1 packet could not be parsed, and may be anything"}},
		{"a blind control", func(r *labReport) { r.Wire.ControlPlaintextPodPackets = 0 },
			[]string{"the control saw no plaintext with the data plane off, so the capture proves nothing"}},
		{"a control that lost packets proves enough", func(r *labReport) { r.Wire.ControlLostPackets = 2 }, nil},
		{"nothing at all", func(r *labReport) { *r = labReport{} }, []string{
			"0 flows were tried instead of 36",
			"no WireGuard packet crossed the wire",
			"the control saw no plaintext with the data plane off, so the capture proves nothing",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := goodLabReport()
			test.change(&r)
			if diff := cmp.Diff(test.want, judgeLab(r, 36)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
	if got := judgeLab(labReport{}, 0); len(got) == 0 || !strings.Contains(got[0], "0 flows") {
		t.Errorf("a run that wants no flow proves nothing; got %q", got)
	}
}

func TestLabReportTook(t *testing.T) {
	if got, want := goodLabReport().took(), 7722*time.Millisecond; got.Round(time.Millisecond) != want {
		t.Errorf("took %v, want %v", got, want)
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 72 << 20: "72.0 MiB", 3 << 50: "3072.0 TiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %q, want %q", n, got, want)
		}
	}
}

// compareGolden compares got with testdata/lab/name.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "lab", name)
	if *updateLab {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update-lab rewrites it):\n%s", path, diff)
	}
}
