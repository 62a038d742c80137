package netlab_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

func ctx() context.Context { return context.Background() }

// up brings a lab up for a test.
func up(t *testing.T, o netlab.Options) *netlab.Lab {
	t.Helper()
	privtest.Root(t)
	o.Reaper = reaper()
	lab, err := netlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func TestUpAndDownLeaveNothing(t *testing.T) {
	privtest.Root(t)
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	lab := up(t, netlab.Options{Nodes: 3, Pods: 2})
	if got, want := len(left(t, lab.Run)), 2*(1+3+6)+1+1; got < want-1 {
		t.Errorf("a lab that is up shows %d traces, want about %d: does this test see any?\n%v", got, want, left(t, lab.Run))
	}
	during, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	names := func(is []net.Interface) (n []string) {
		for _, i := range is {
			n = append(n, i.Name)
		}
		return n
	}
	if diff := cmp.Diff(names(before), names(during)); diff != "" {
		t.Errorf("the lab shows among the host's devices (-before +during):\n%s", diff)
	}
	sleeper := lab.Nodes[1].Pods[0].Command(t.Context(), "sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()

	for range 2 {
		if err := lab.Down(); err != nil {
			t.Fatal(err)
		}
		if l := left(t, lab.Run); len(l) > 0 {
			t.Fatalf("left over: %v", l)
		}
	}
	if err := <-ended; err == nil {
		t.Error("a process of the lab ended by itself, not by Down")
	}
	if err := lab.Nodes[0].Do(func() error { return nil }); err == nil || !strings.Contains(err.Error(), "is lab "+lab.Run+" up?") {
		t.Errorf("a namespace of a lab that is down: %v", err)
	}
}

func TestUpEndsWithItsContext(t *testing.T) {
	privtest.Root(t)
	lab, err := netlab.New(netlab.Options{Nodes: 3, Reaper: reaper()})
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lab.Up(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("Up with a context that has ended: %v", err)
	}
	if l := left(t, lab.Run); len(l) > 0 {
		t.Errorf("left over: %v", l)
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	first := up(t, netlab.Options{})
	second, err := netlab.New(netlab.Options{Run: first.Run})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "one of that name") {
		t.Errorf("a second lab of one name: %v", err)
	}
	if err := second.Down(); err != nil { // must not take the first one down
		t.Fatal(err)
	}
	if _, err := netlab.Open(first.Run); err != nil {
		t.Errorf("the first lab suffered: %v", err)
	}
}

func TestTwoLabsAtOnce(t *testing.T) {
	for i := range 2 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			lab := up(t, netlab.Options{})
			for _, r := range lab.RunFlows(t.Context(), lab.Flows(), netlab.FlowOptions{}) {
				if !r.OK {
					t.Error(r.Error)
				}
			}
		})
	}
}

func TestDetachedLabsStay(t *testing.T) {
	lab := up(t, netlab.Options{Nodes: 3, Pods: 2, Families: []int{4}, MTU: 9000})
	if err := lab.Detach(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Down(); err != nil { // no longer this one's to take down
		t.Fatal(err)
	}
	opened, err := netlab.Open(lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Down(); err != nil {
			t.Error(err)
		}
		if l := left(t, lab.Run); len(l) > 0 {
			t.Errorf("left over: %v", l)
		}
	})
	var names []string
	for _, n := range opened.Nodes {
		for _, p := range n.Pods {
			names = append(names, fmt.Sprint(p.FullName(), p.IPs))
		}
	}
	want := []string{"node-a/pod-1[10.244.1.2]", "node-a/pod-2[10.244.1.3]", "node-b/pod-1[10.244.2.2]",
		"node-b/pod-2[10.244.2.3]", "node-c/pod-1[10.244.3.2]", "node-c/pod-2[10.244.3.3]"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("the opened lab (-want +got):\n%s", diff)
	}
	pod, err := opened.Find("node-c/pod-2")
	if err != nil {
		t.Fatal(err)
	}
	out, err := pod.Command(t.Context(), "sh", "-c", "cat /proc/self/net/fib_trie; stat -f -c %t /sys/fs/bpf").CombinedOutput()
	if err != nil {
		t.Fatalf("run a command in a pod: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "10.244.3.3") {
		t.Errorf("a command in node-c/pod-2 does not see its address:\n%s", out)
	}
	if !strings.Contains(string(out), "cafe4a11") { // BPF_FS_MAGIC
		t.Errorf("a command in a pod does not see the host's bpffs:\n%s", out)
	}
}

func TestOpenWhatIsNotUp(t *testing.T) {
	if _, err := netlab.Open("nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := netlab.Open("../etc"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a path: %v", err)
	}
}
