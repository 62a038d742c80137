package netlab_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/netlab"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

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
	eventually(t, "the reaper removes everything", time.Minute, func() bool { return len(left(t, run)) == 0 })
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
