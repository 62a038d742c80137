package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/dataplane"
)

// TestLabFlags: what is wrong on the command line is told before anything is
// done.
func TestLabFlags(t *testing.T) {
	for args, want := range map[string]string{
		"run --nodes 1":                 "--nodes 1: 2 to 26 are needed",
		"run --nodes 27":                "--nodes 27: 2 to 26 are needed",
		"run --pods 0":                  "--pods 0: 1 to 200 are needed",
		"run --family 5":                "--family 5: 4, 6 or 4,6 is needed",
		"run --family 4,4":              "--family 4 4: 4, 6 or 4,6 is needed",
		"run --family=":                 `invalid argument "" for "--family"`,
		"run --cni flannel":             `--cni "flannel": one of bridge, routes, vxlan, ipip, default-route, plugin-bridge, plugin-ptp, plugin-bridge-masq, plugin-ptp-masq is needed`,
		"run --mtu 1359":                "--mtu 1359: 1360 to 65535 are needed, of which a tunnel takes 80 off",
		"up --mtu 655 --family 4":       "--mtu 655: 656 to 65535 are needed",
		"up --mtu 65536":                "--mtu 65536: 1360 to 65535 are needed",
		"run --mtu jumbo":               `invalid argument "jumbo" for "--mtu"`,
		"up --cni ipip --family 6":      "--cni ipip --family 6: its outer packets are IPv4",
		"run --backend openvpn":         `--backend "openvpn": one or more of userspace, kernel, auto are needed`,
		"run --backend userspace,":      `--backend "": one or more of userspace, kernel, auto are needed`,
		"run --backend=":                "--backend: one or more of userspace, kernel, auto are needed",
		"run --name Demo":               `--name "Demo": 1 to 8 lower-case letters and digits are needed`,
		"run --name=":                   `--name ""`,
		"up --name ../../etc":           `--name "../../etc"`,
		"up --nodes many":               `invalid argument "many" for "--nodes"`,
		"run -o xml":                    `"xml" is none of table, json, yaml`,
		"run now":                       "Try 'wgsteer lab run --help'.",
		"exec node-a":                   "a node or a pod, --, and a command are needed",
		"exec node-a ip":                "a node or a pod, --, and a command are needed",
		"exec -- node-a ip":             "a node or a pod, --, and a command are needed",
		"exec node-a node-b -- ip addr": "a node or a pod, --, and a command are needed",
		"down demo":                     "Try 'wgsteer lab down --help'.",
	} {
		t.Run(args, func(t *testing.T) {
			e, stdout, stderr := testEnv()
			if got := run(t.Context(), append([]string{"lab"}, strings.Fields(args)...), e); got != exitUsage {
				t.Errorf("exit code %d, want %d", got, exitUsage)
			}
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("stderr %q, want %q in it", stderr, want)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout %q, want nothing", stdout)
			}
		})
	}
}

// TestLabVerbsNeedALab: verbs for a lab that is not up say so.
func TestLabVerbsNeedALab(t *testing.T) {
	for _, args := range []string{"down --name nosuch", "status --name nosuch", "exec --name nosuch node-a -- true"} {
		e, _, stderr := testEnv()
		if got := run(t.Context(), append([]string{"lab"}, strings.Fields(args)...), e); got != exitFailed {
			t.Errorf("%s: exit code %d, want %d", args, got, exitFailed)
		}
		// Tests of other packages may have labs of theirs up.
		want := regexp.MustCompile(`^wgsteer: lab nosuch is not up(, nor is any other|; these are: [a-z0-9, ]+)\n$`)
		if !want.MatchString(stderr.String()) {
			t.Errorf("%s: stderr %q, want %s", args, stderr, want)
		}
	}
}

func TestLabHelp(t *testing.T) {
	e, stdout, _ := testEnv()
	if got := run(t.Context(), []string{"lab"}, e); got != exitOK {
		t.Errorf("exit code %d, want %d", got, exitOK)
	}
	for _, verb := range []string{"run", "up", "status", "exec", "down"} {
		if !strings.Contains(stdout.String(), "\n  "+verb+" ") {
			t.Errorf("the help does not list %s", verb)
		}
	}
	if strings.Contains(stdout.String(), "\n  reap ") {
		t.Error("the help lists reap, which is not for people")
	}
}

func TestLabMissing(t *testing.T) {
	now := time.Unix(1700000000, 0)
	peers := []dataplane.Peer{{Name: "node-b", LastHandshake: now}, {Name: "node-c", LastHandshake: now}}
	silent := []dataplane.Peer{{Name: "node-b", LastHandshake: now}, {Name: "node-c"}}
	for name, tt := range map[string]struct {
		status dataplane.Status
		want   string
	}{
		"all there":   {dataplane.Status{State: dataplane.Ready, Ready: true, Peers: peers}, ""},
		"not yet":     {dataplane.Status{State: dataplane.Tunnelling}, "the state is tunnelling"},
		"degraded":    {dataplane.Status{State: dataplane.Degraded, Ready: true, Peers: peers, Reasons: []string{"a record is wrong"}}, "the state is degraded: a record is wrong"},
		"a peer less": {dataplane.Status{State: dataplane.Ready, Ready: true, Peers: peers[:1]}, "1 of 2 peers are known"},
		"no session":  {dataplane.Status{State: dataplane.Ready, Ready: true, Peers: silent}, "there is no session with node-c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := labMissing(tt.status, 2); got != tt.want {
				t.Errorf("missing %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLabInterruptible(t *testing.T) {
	e, _, _ := testEnv()
	signals := make(chan os.Signal, 1)
	stopped := false
	e.Signals = func(...os.Signal) (<-chan os.Signal, func()) { return signals, func() { stopped = true } }
	l := lab{env: e}
	err := l.interruptible(t.Context(), func(ctx context.Context) error {
		signals <- unix.SIGINT
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err == nil || err.Error() != "ended by a signal (interrupt)" {
		t.Errorf("error %v, want that a signal ended it", err)
	}
	if !stopped {
		t.Error("a second signal would be swallowed")
	}
	stopped = false
	own := errors.New("its own")
	if err := l.interruptible(t.Context(), func(context.Context) error { return own }); err != own || !stopped {
		t.Errorf("error %v, signals stopped %v; want its own and true", err, stopped)
	}
}

func TestLabStatusTable(t *testing.T) {
	addresses := func(texts ...string) (out []netip.Addr) {
		for _, s := range texts {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	s := labStatus{
		Name: "other",
		Nodes: []labNodeStatus{
			{Name: "node-a", Addresses: addresses("192.0.2.1", "2001:db8:0:1::1"), Interface: "wg-other-a", Daemon: "ready", Config: "/run/a/config.yaml", Log: "/run/a/daemon.log"},
			{Name: "node-b", Addresses: addresses("192.0.2.2", "2001:db8:0:1::2"), Interface: "wg-other-b", Daemon: "ended"},
		},
		Pods: []labPodStatus{
			{Name: "node-a/pod-1", Addresses: addresses("10.244.1.2", "fd00:10:244:1::2")},
			{Name: "node-b/pod-1", Addresses: addresses("10.244.2.2", "fd00:10:244:2::2")},
		},
	}
	var out bytes.Buffer
	if err := s.table(&out, false); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "status.table", out.Bytes())
}

func TestSaveFiles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	log := filepath.Join(from, "node-a", "daemon.log")
	if saved, err := saveFiles(to, "x-", []string{log}); saved != "" || err != nil {
		t.Errorf("saved %q, %v, where there is nothing", saved, err)
	}
	if err := os.Mkdir(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	saved, err := saveFiles(to, "x-", []string{log, filepath.Join(from, "node-b", "daemon.log")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(saved, "node-a-daemon.log"))
	if diff := cmp.Diff("one\ntwo\n", string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got := lastLine(log); got != "two" {
		t.Errorf("last line %q, want %q", got, "two")
	}
}
