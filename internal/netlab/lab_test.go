package netlab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

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

// left lists what there is of a lab on the host, at all places.
func left(t *testing.T, run string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{
		"/run/netns/wgs-" + run + "-*",
		"/run/wgsteer-lab/" + run + "*",
		"/sys/fs/bpf/wgsteer-lab-" + run + "*",
		"/var/run/wireguard/wg-" + run + "-*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "wgs-"+run+"-") {
			all = append(all, "mount "+line)
		}
	}
	return all
}

func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
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

// owner starts a process that owns a lab and returns it with the pid of the
// process that it started inside.
func owner(t *testing.T, args ...string) (cmd *exec.Cmd, inside int) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe", append([]string{asOwner}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the owner did not come up: %v", err)
	}
	if inside, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return cmd, inside
}

// killGroup kills the owner as kill -9 on a job does, and waits for it.
func killGroup(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says killed, as it should
}

func TestAKilledOwnersLabIsReaped(t *testing.T) {
	privtest.Root(t)
	run := fmt.Sprintf("r%d", os.Getpid())
	// The process inside is in the owner's group and dies with it; a second one,
	// in a session of its own, is for the reaper.
	cmd, inside := owner(t, run, "with reaper")
	lab, err := netlab.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	daemon := lab.Nodes[1].Command(t.Context(), "setsid", "--fork", "sleep", "1000")
	if err := daemon.Run(); err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join(lab.Nodes[0].BPFFS, "dir")
	if err := os.MkdirAll(pin, 0o700); err != nil {
		t.Fatal(err)
	}
	forked := sleepersOf(t, run)
	if len(forked) != 2 {
		t.Fatalf("%d processes carry the lab's mark, want 2: %v", len(forked), forked)
	}

	killGroup(t, cmd)
	eventually(t, "the reaper removes everything", 20*time.Second, func() bool { return len(left(t, run)) == 0 })
	for _, pid := range append(forked, inside) {
		if running(pid) {
			t.Errorf("process %d of the lab still runs", pid)
		}
	}
}

// sleepersOf lists the processes with a lab's mark in their environment.
func sleepersOf(t *testing.T, run string) (pids []int) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(env)+"\x00", "WGSTEER_LAB="+run+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestTheNextLabSweepsUp(t *testing.T) {
	privtest.Root(t)
	run := fmt.Sprintf("s%d", os.Getpid())
	cmd, inside := owner(t, run)
	up(t, netlab.Options{}) // while the owner lives, its lab is not swept
	if _, err := netlab.Open(run); err != nil || !running(inside) {
		t.Fatalf("a living owner's lab was swept: %v", err)
	}
	killGroup(t, cmd)
	if len(left(t, run)) == 0 {
		t.Fatal("a killed owner without a reaper left nothing: what is there to sweep?")
	}
	up(t, netlab.Options{})
	if l := left(t, run); len(l) > 0 {
		t.Errorf("left over: %v", l)
	}
	if running(inside) {
		t.Errorf("process %d of the lab still runs", inside)
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

func TestStrangersAreNamedAndLeftAlone(t *testing.T) {
	lab := up(t, netlab.Options{})
	stranger := exec.Command("sleep", "1000") // as with nsenter: not started by the lab
	if err := lab.Nodes[0].Do(stranger.Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	}()
	err := lab.Down()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d (sleep)", stranger.Process.Pid)) {
		t.Errorf("the stranger is not named: %v", err)
	}
	if !running(stranger.Process.Pid) {
		t.Error("the stranger was killed")
	}
	if l := left(t, lab.Run); len(l) > 0 {
		t.Errorf("left over: %v", l)
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
