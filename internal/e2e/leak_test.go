package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

// The leak matrix: whatever happens to wgsteer or to the network around it, no
// packet between pods of different nodes, or between a pod and another node, is on
// the wire in plaintext. The wire is every port of the underlay, from before it
// happens until traffic is back; the traffic goes on all the while.

// row is something that happens.
type row struct {
	name string
	// before happens to wgsteer, before world.
	before func(s *scene)
	// world changes the network around wgsteer; in the control, too.
	world func(s *scene)
	// fault is what happens to wgsteer on node-a. It, or world, is there.
	fault func(s *scene)
	// dead says that traffic does not come back by itself: mend is what a person
	// does then, as mending says.
	dead    bool
	mend    func(s *scene)
	mending string
	// repaired is what the daemon puts back, as Status then tells.
	repaired string
	// astray rows have pods' packets go where nobody is, also without wgsteer.
	astray bool
	// degraded is how the reason of node-a begins, where one stays.
	degraded string
	// late rows begin the capture themselves.
	late bool
	// gap rows have plaintext pass until traffic is back: nothing is left that would
	// keep it in. Then it is over.
	gap bool
}

// many datagrams on each way: whatever is to leak has had its chance.
const many = 100

// result is a row afterwards.
type result struct {
	control, pods, podNode, wireguard uint64 // frames
	back                              string // what came back, and when
}

func TestLeakMatrix(t *testing.T)             { leakMatrix(t, light, tcx) }
func TestLongLeakMatrix(t *testing.T)         { privtest.Long(t); leakMatrix(t, heavy, tcx) }
func TestLongLeakMatrixByClsact(t *testing.T) { privtest.Long(t); leakMatrix(t, light, clsact) }

func leakMatrix(t *testing.T, p pace, by mechanism) {
	privtest.Root(t)
	results := map[string]result{}
	for _, r := range rows(by) {
		t.Run(r.name, func(t *testing.T) {
			results[r.name] = r.run(t, p, by)
			t.Logf("%+v", results[r.name])
		})
	}
	if !t.Failed() && len(results) == len(rows(by)) {
		writeMatrix(t, by, results)
	}
}

// run makes the control, and then the row.
func (r row) run(t *testing.T, p pace, by mechanism) result {
	var done result
	if !t.Run("control", func(t *testing.T) { done.control = r.control(t, p, by) }) {
		return done
	}
	s := newScene(t, p, by)
	s.knowNodes()
	if !r.late {
		s.startAll()
		s.load = startLoad(t, s.cluster, p)
		s.load.awaitAll(s.cluster, "traffic before", s.load.mark())
		s.begin()
	}
	start := time.Now()
	for _, happens := range []func(*scene){r.before, r.world, r.fault} {
		if happens != nil {
			happens(s)
		}
	}
	done.back = r.comesBack(s, start)
	if r.gap {
		s.over()
	}
	s.load.stop()
	wire := s.end()
	done.pods, done.podNode, done.wireguard = wire.PlaintextPod.Frames, wire.PlaintextPodNode.Frames, wire.WireGuard.Frames
	switch plaintext := done.pods > 0 || done.podNode > 0; {
	case plaintext && !r.gap:
		t.Errorf("plaintext on the wire: %+v", wire)
	case !plaintext && r.gap && r.dead:
		t.Errorf("no plaintext on the wire; this row says there is: %+v", wire)
	}
	return done
}

// control is the same without wgsteer: how much plaintext that puts on the wire.
func (r row) control(t *testing.T, p pace, by mechanism) uint64 {
	s := newScene(t, p, by)
	if r.world != nil {
		r.world(s)
	}
	s.load = startLoad(t, s.cluster, p)
	w := s.watch(func() {
		marks := s.load.mark()
		s.load.awaitSent(s.cluster, many, marks)
		if !r.astray {
			s.load.awaitAll(s.cluster, "traffic without wgsteer", marks)
		}
	})
	s.load.stop()
	if w.PlaintextPod.Frames == 0 || w.PlaintextPodNode.Frames == 0 {
		t.Errorf("the capture sees no plaintext without wgsteer: %+v", w)
	}
	return w.PlaintextPod.Frames + w.PlaintextPodNode.Frames
}

// comesBack waits until traffic is back, as the row says it will be.
func (r row) comesBack(s *scene, start time.Time) string {
	s.t.Helper()
	marks := s.load.mark()
	if r.dead {
		s.load.awaitSent(s.cluster, many, marks)
		if deaf := s.load.deaf(marks); len(deaf) == 0 {
			s.t.Errorf("traffic came back by itself; this row says it does not")
		}
		if r.mend == nil {
			return "nothing"
		}
		start, marks = time.Now(), s.load.mark()
		r.mend(s)
	}
	s.load.awaitAll(s.cluster, "traffic after "+r.name, marks)
	back := "traffic, " + after(start)
	if r.mend != nil {
		back = fmt.Sprintf("traffic, %s after %s", seconds(time.Since(start)), r.mending)
	}
	if r.repaired != "" {
		back += "; " + s.putBack(r.repaired) + ", " + after(start)
	}
	s.load.awaitSent(s.cluster, many, s.load.mark())
	for _, n := range s.Nodes {
		s.await(n.Name, "ready, and nothing failing", func(st dataplane.Status) bool {
			if n.Name == "node-a" && r.degraded != "" {
				return st.Ready && len(st.Reasons) == 1 && strings.HasPrefix(st.Reasons[0], r.degraded)
			}
			return st.Ready && len(st.Reasons) == 0
		})
	}
	return back
}

func after(start time.Time) string { return "after " + seconds(time.Since(start)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
