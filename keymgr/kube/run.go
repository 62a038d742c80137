package kube

import (
	"context"
	"errors"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

// Run implements keymgr.Source. An API server that does not answer is a Problem, not an error.
func (s *Source) Run(ctx context.Context, deliver func(keymgr.Snapshot)) error {
	return errors.ErrUnsupported
}

type failure struct {
	message string
	since   time.Time
}

type cluster struct{}

func first(map[string]failure) (failure, bool) { return failure{}, false }

func readable(keymgr.Node) error { return nil }
