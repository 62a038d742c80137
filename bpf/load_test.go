package bpf_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/bpf"
	"github.com/wgsteer/wgsteer/internal/privtest"
)

func TestLoad(t *testing.T) {
	privtest.Root(t)
	var objects bpf.SteerObjects
	if err := bpf.LoadSteerObjects(&objects, nil); err != nil {
		t.Fatalf("%+v", err)
	}
	defer objects.Close()
}
