package kube

import (
	"context"
	"errors"
)

// RemoveTaint takes the taints with that key off this node, and reports whether
// there were any. It changes nothing else, whoever else changes the Node
// meanwhile.
func (s *Source) RemoveTaint(ctx context.Context, key string) (removed bool, err error) {
	return false, errors.ErrUnsupported
}
