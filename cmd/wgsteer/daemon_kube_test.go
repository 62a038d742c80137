package main

import (
	"context"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/keymgr/kube"
)

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
