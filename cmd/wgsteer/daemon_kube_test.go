package main

import (
	"context"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
)

func TestPodsMayCome(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*dataplane.Status)
		want   bool
	}{
		"ready":      {func(*dataplane.Status) {}, true},
		"permissive": {func(s *dataplane.Status) { s.Policy = dataplane.Permissive }, true},
		"a part fails that is no layer": {func(s *dataplane.Status) {
			s.State, s.Reasons = dataplane.Degraded, []string{"claims: the disk is full"}
		}, true},
		"pods of others are outside": {func(s *dataplane.Status) { s.PodsOutside = []string{"node-b"} }, true},
		"guarding":                   {func(s *dataplane.Status) { s.State, s.Ready = dataplane.Guarding, false }, false},
		"guarded, without a tunnel":  {func(s *dataplane.Status) { s.State, s.Ready = dataplane.Tunnelling, false }, false},
		"its pods are not known":     {func(s *dataplane.Status) { s.State, s.Ready = dataplane.Steering, false }, false},
		"a layer is missing":         {func(s *dataplane.Status) { s.State, s.Steering.Failing = dataplane.Degraded, "no nf_tables" }, false},
		"pods that the guard does not know": {func(s *dataplane.Status) {
			s.Problems = []keymgr.Problem{{Node: "node-a", Record: dataplane.OwnPods, Message: "10.9.0.0/24 is in none of clusterCIDRs"}}
		}, false},
	} {
		s := well()
		if tt.change(&s); podsMayCome(s) != tt.want {
			t.Errorf("%s: %v", name, !tt.want)
		}
	}
}

// endless has ended, and does not tell so by Done: the moment just before that does.
type endless struct{ context.Context }

func (endless) Err() error { return context.Canceled }

// TestTellingEndsWithoutError: a daemon that is stopped while it tells how it is ends
// as at any other moment.
func TestTellingEndsWithoutError(t *testing.T) {
	client, err := kube.NewClient(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	d := stopped(t)
	if d.cluster, err = kube.New(kube.Options{Client: client, Self: "node-a"}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := d.tellCluster(endless{context.Background()}, ""); err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}
