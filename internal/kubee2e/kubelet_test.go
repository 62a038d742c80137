package kubee2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// kubelet runs one pod at a time on a node of the lab.
type kubelet struct {
	*netlab.Node
	t    *testing.T
	root string // of the node's file system
	host *netlab.Cmd
	mark string

	last struct { // that run was called with
		pod    *corev1.Pod
		around surroundings
	}
	stop  context.CancelFunc // of the pod; nil without one
	ended chan struct{}

	mu      sync.Mutex
	running *netlab.Cmd // the container that was started last; nil before
	runs    container
}

// backOff is what a kubelet waits before it starts a container again: 10 s, twice as
// long each time, and at first not at all. Here a tenth of it.
const backOff = time.Second

// newKubelet makes the node's file system.
func newKubelet(t *testing.T, l *netlab.Lab, n *netlab.Node) *kubelet {
	t.Helper()
	k := &kubelet{Node: n, t: t, root: filepath.Join(l.Dir, n.Name, "root"), mark: "WGSTEER_LAB=" + l.Run}
	k.boot()
	return k
}

// boot starts the process that the node's mounts are, and makes an empty /run.
func (k *kubelet) boot() {
	t := k.t
	t.Helper()
	if err := os.RemoveAll(filepath.Join(k.root, "run")); err != nil {
		t.Fatal(err)
	}
	// The lab ends the process at the latest. So does its standard input.
	k.host = k.Command(context.Background(), os.Args[0], asHost, k.root)
	k.host.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	k.host.Stderr = os.Stderr
	if _, err := k.host.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := k.host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.host.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("make the file system of %s: %q, %v", k.Name, line, err)
	}
}

// reboot ends pod and kernel state of the node but its network's, and has the same pod
// run again: what it knew then is on its disk.
func (k *kubelet) reboot() {
	k.t.Helper()
	k.end()
	_ = k.host.Process.Kill()
	_ = k.host.Wait()
	// Programs went with the last bpffs that had them pinned.
	out, err := k.Command(k.t.Context(), "sh", "-ec", "nft flush ruleset; tc qdisc del dev eth0 clsact 2>/dev/null ||:; ip route flush proto 117; ip -6 route flush proto 117").CombinedOutput()
	if err != nil {
		k.t.Fatalf("reboot %s: %v\n%s", k.Name, err, out)
	}
	k.boot()
	if err := k.run(k.last.pod, k.last.around); err != nil {
		k.t.Fatal(err)
	}
}

// run starts a pod and goes on to run it until end.
func (k *kubelet) run(p *corev1.Pod, s surroundings) error {
	o, err := order(p, s)
	if err == nil {
		err = k.prepare(o)
	}
	if err != nil {
		return fmt.Errorf("run %s on %s: %w", p.Name, k.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // until end
	k.last.pod, k.last.around = p, s
	k.stop, k.ended = cancel, make(chan struct{})
	go func() {
		defer close(k.ended)
		for _, c := range o.Init {
			k.again(ctx, c, func(err error) bool { return err == nil })
		}
		var all sync.WaitGroup
		for _, c := range o.Main {
			all.Go(func() { k.again(ctx, c, func(error) bool { return false }) })
		}
		all.Wait()
	}()
	return nil
}

// prepare writes what the pod's volumes hold.
func (k *kubelet) prepare(o orders) error {
	for _, dir := range o.Directories {
		if err := os.MkdirAll(filepath.Join(k.root, dir), 0o755); err != nil {
			return err
		}
	}
	for name, text := range o.Files {
		path := filepath.Join(k.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// again runs a container again and again, until it is done or ctx is.
func (k *kubelet) again(ctx context.Context, c container, done func(error) bool) {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		if done(k.once(ctx, c)) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = max(backOff, 2*wait)
	}
}

// once runs a container until it ends, or is ended by ctx.
func (k *kubelet) once(ctx context.Context, c container) error {
	cmd, err := k.start(ctx, c)
	if err != nil {
		k.say("start %s: %v", c.Name, err)
		return err
	}
	if err := k.tellExec(k.last.pod.Name); err != nil {
		k.say("%v", err)
	}
	err = cmd.Wait()
	k.say("%s ended: %v", c.Name, err)
	return err
}

func (k *kubelet) start(ctx context.Context, c container) (*netlab.Cmd, error) {
	root := filepath.Join(filepath.Dir(k.root), "containers", c.Name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	cmd, err := k.command(ctx, asContainer, task{Container: c, Root: root})
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second // as terminationGracePeriodSeconds
	log, err := os.OpenFile(k.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k.running, k.runs = cmd, c
	return cmd, nil
}

// command is one that does a task in the node's namespaces.
func (k *kubelet) command(ctx context.Context, as string, t task) (*netlab.Cmd, error) {
	t.Node, t.HostRoot, t.Binary, t.Mark = k.Name, k.root, built, k.mark
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	mounts := fmt.Sprintf("--mount=/proc/%d/ns/mnt", k.host.Process.Pid)
	return k.Command(ctx, "nsenter", mounts, os.Args[0], as, string(text)), nil
}

// exec runs a command in the running container, as kubectl exec does.
func (k *kubelet) exec(args ...string) ([]byte, error) {
	entry, err := k.entry()
	if err != nil {
		return nil, err
	}
	cmd := k.Command(k.t.Context(), entry[0], append(entry[1:], args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%q on %s: %w\n%s", args, k.Name, err, stderr.Bytes())
	}
	return out, err
}

// entry is a command that runs its further arguments in the running container.
func (k *kubelet) entry() ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil {
		return nil, errors.New("no container runs on " + k.Name)
	}
	text, err := json.Marshal(task{Container: k.runs, PID: k.running.Process.Pid, Mark: k.mark})
	processes := fmt.Sprintf("--pid=/proc/%d/ns/pid", k.running.Process.Pid)
	return []string{"nsenter", processes, os.Args[0], asExec, string(text)}, err
}

// runsNow is the name of the container that runs, "" if none does.
func (k *kubelet) runsNow() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil || k.running.Process.Signal(syscall.Signal(0)) != nil {
		return ""
	}
	return k.runs.Name
}

// pid is the number of the container's process, the last one's where none runs.
func (k *kubelet) pid() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil {
		return 0
	}
	return k.running.Process.Pid
}

// kill ends the container as a crash does; the kubelet starts it again.
func (k *kubelet) kill() {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.running.Process.Kill(); err != nil {
		k.t.Errorf("kill the container of %s: %v", k.Name, err)
	}
}

// end ends the pod, with its grace.
func (k *kubelet) end() {
	if k.stop == nil {
		return
	}
	k.stop()
	<-k.ended
	k.stop = nil
}

func (k *kubelet) log() string { return filepath.Join(k.RunDir, "log") }

// say adds a line to the log.
func (k *kubelet) say(format string, args ...any) {
	f, err := os.OpenFile(k.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = io.WriteString(f, "kubelet: "+fmt.Sprintf(format, args...)+"\n")
}
