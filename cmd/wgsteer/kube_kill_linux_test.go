package main

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/keymgr"
)

const (
	maxSteps    = 60 // lines of log of a start, in any case fewer
	killsByTime = 8
)

// testKillsInKubernetes kills first starts of the daemon after each line of its log
// in turn, and at some times in between, until its record is there with its status.
// Whatever the moment: the key is whole or not there yet, a key that was published is
// the one on disk, and the next start becomes ready with it and publishes.
func testKillsInKubernetes(t *testing.T, s *kubetest.Server, bpffs string) {
	d := kubeNode(t, s, bpffs)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	kills, withKey, published := 0, 0, 0
	var longest time.Duration // of a start that ran to its end
	try := func(when killWhen) (killed bool) {
		forget(t, s, d)
		p := startKillable(t, d, when)
		killed = p.untilKilled(t, s)
		first := keptKey(t, s, d)
		if first != "" {
			withKey++
		}
		if _, there := record(t, s, "node-1"); there {
			published++
		}
		start := time.Now()
		startKillable(t, d, killWhen{}).untilKilled(t, s)
		longest = max(longest, time.Since(start))
		if now := keptKey(t, s, d); now == "" || first != "" && now != first {
			t.Errorf("%+v: the next start has key %q, that of the killed one was %q", when, now, first)
		}
		kills += 2
		return killed
	}
	steps := 0
	for step := 1; step <= maxSteps && try(killWhen{line: step}) && !t.Failed(); step++ {
		steps++
	}
	for range killsByTime {
		if t.Failed() {
			break
		}
		try(killWhen{after: 1 + time.Duration(random.Int64N(int64(longest)))})
	}
	t.Logf("%d kills: after each of %d lines, at %d times (seed %d) within %s, and of each start that followed; %d had a key by then, %d a record",
		kills, steps, killsByTime, seed, longest.Round(time.Millisecond), withKey, published)
	if steps < 5 || steps == maxSteps || withKey == 0 || published == 0 {
		t.Error("the kills do not cover a start: does this test still find its steps?")
	}
}

// forget makes the next start the first.
func forget(t *testing.T, s *kubetest.Server, d *node) {
	t.Helper()
	remove(t, filepath.Join(filepath.Dir(d.file), "state-1"))
	if _, there := record(t, s, "node-1"); there {
		if err := records(t, s).Delete(t.Context(), "node-1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// keptKey is the public key on disk, "" where there is none yet. One that the record
// names has to be there.
func keptKey(t *testing.T, s *kubetest.Server, d *node) string {
	t.Helper()
	onDisk := ""
	key, err := keymgr.NewStore(filepath.Join(filepath.Dir(d.file), "state-1")).Load()
	switch {
	case err == nil:
		onDisk = key.Public().String()
	case !errors.Is(err, keymgr.ErrNoKey):
		t.Errorf("the key on disk: %v", err)
	}
	if r, there := record(t, s, "node-1"); there && r.Spec.PublicKeys[0].Key != onDisk {
		t.Errorf("the record has key %s, the disk %q", r.Spec.PublicKeys[0].Key, onDisk)
	}
	return onDisk
}

// killWhen says when a start is killed: after a line of its log, or after some time;
// zero: when it is ready and has told so in its record.
type killWhen struct {
	line  int
	after time.Duration
}

// killable is a process that is killed at a moment.
type killable struct {
	cmd   *exec.Cmd
	due   chan struct{} // closed at that moment
	ended chan struct{}
	mu    sync.Mutex
	log   []string
}

// isStep leaves out what workers that start at one time say in any order.
func isStep(line string) bool {
	return !strings.Contains(line, "wireguard: Routine") && !strings.Contains(line, "reflector=")
}

func startKillable(t *testing.T, d *node, when killWhen) *killable {
	t.Helper()
	p := &killable{cmd: exec.Command("wgsteer", "run", "--config", d.file), due: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Environ(), "LOG_LEVEL=debug")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	lines, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if when.after > 0 {
		time.AfterFunc(when.after, func() { close(p.due) })
	}
	go func() {
		defer close(p.ended)
		steps := 0
		for scanner := bufio.NewScanner(lines); scanner.Scan(); {
			p.mu.Lock()
			p.log = append(p.log, scanner.Text())
			if isStep(scanner.Text()) {
				steps++
			}
			if steps == when.line && isStep(scanner.Text()) {
				_ = p.cmd.Process.Kill() // at once; it is waited for below
				close(p.due)
			}
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // killed, mostly
	}()
	return p
}

// untilKilled waits for the moment, or until the record tells that all is well, and
// kills the process. It reports whether the moment came first.
func (p *killable) untilKilled(t *testing.T, s *kubetest.Server) (inTime bool) {
	t.Helper()
	defer func() {
		_ = p.cmd.Process.Kill() // it may be dead
		<-p.ended
	}()
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case <-p.due:
			return true
		case <-p.ended:
			select {
			case <-p.due:
				return true
			default:
			}
			t.Fatalf("the daemon ended by itself:\n%s", strings.Join(p.log, "\n"))
		case <-deadline:
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("neither killed nor ready within two minutes:\n%s", strings.Join(p.log, "\n"))
		case <-time.After(20 * time.Millisecond):
			if r, there := record(t, s, "node-1"); there && told(r) == allWell {
				return false
			}
		}
	}
}
