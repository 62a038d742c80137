package e2e_test

import (
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// scene is a row while it happens.
type scene struct {
	*cluster
	t       *testing.T
	by      mechanism
	load    *load
	pace    pace
	capture *netlab.Capture
}

// newScene is one in which nothing of wgsteer is yet.
func newScene(t *testing.T, p pace, by mechanism) *scene {
	t.Helper()
	return &scene{cluster: bare(t, by.binary(t), netlab.Options{}), t: t, by: by, pace: p}
}

// begin begins the capture.
func (s *scene) begin() {
	s.t.Helper()
	var err error
	if s.capture, err = s.Capture(port); err != nil {
		s.t.Fatal(err)
	}
}

// end ends the capture.
func (s *scene) end() netlab.Wire {
	s.t.Helper()
	wire, err := s.capture.Stop()
	if err != nil {
		s.t.Fatal(err)
	}
	if wire.Lost != 0 || wire.Malformed.Frames != 0 {
		s.t.Errorf("the capture proves nothing: %+v", wire)
	}
	return wire
}

// over is where a gap is: from now on nothing leaks.
func (s *scene) over() {
	s.t.Helper()
	if w := s.watch(func() { s.load.awaitSent(s.cluster, many, s.load.mark()) }); w.PlaintextPod.Frames != 0 || w.PlaintextPodNode.Frames != 0 {
		s.t.Errorf("plaintext on the wire, still: %+v", w)
	}
}

// putBack waits until node-a's Status tells of a repair, and names it.
func (s *scene) putBack(prefix string) (what string) {
	s.t.Helper()
	s.await("node-a", "put back: "+prefix, func(st dataplane.Status) bool {
		for _, done := range st.Steering.Repairs {
			if strings.HasPrefix(done.What, prefix) {
				what = strings.NewReplacer(s.a().Interface, "wgsteer0").Replace(done.What)
				return true
			}
		}
		return false
	})
	return what
}
