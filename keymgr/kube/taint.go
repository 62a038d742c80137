package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RemoveTaint takes the taints with that key off this node, and reports whether
// there were any. It changes nothing else, whoever else changes the Node
// meanwhile. While Run knows that there is none, nothing is asked for.
func (s *Source) RemoveTaint(ctx context.Context, key string) (removed bool, err error) {
	if s.untainted(key) {
		return false, nil
	}
	const tries = 3 // each one fails only if somebody else changed the taints meanwhile
	for range tries {
		removed, err = s.client.removeTaint(ctx, s.self, key)
		if !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("take the taint %s off Node %s: %s", key, s.self, explain(s.client.Server, nodesResource, err))
	}
	return removed, nil
}

// untainted reports whether this node's Node is known, and free of the taint.
func (s *Source) untainted(key string) bool {
	s.mu.Lock()
	c := s.state
	s.mu.Unlock()
	if c == nil {
		return false
	}
	n, there := c.nodes.get(s.self)
	return there && !slices.ContainsFunc(n.taints, func(t corev1.Taint) bool { return t.Key == key })
}

func (c *Client) removeTaint(ctx context.Context, node, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	n, err := c.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	patch := withoutTaint(n.Spec.Taints, key)
	if patch == nil {
		return false, nil
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return false, err
	}
	_, err = c.CoreV1().Nodes().Patch(ctx, node, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	return err == nil, err
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// withoutTaint is the patch that removes the taints with that key where they are,
// and fails where they are not; nil where there are none.
func withoutTaint(taints []corev1.Taint, key string) []operation {
	var patch []operation
	for i, t := range slices.Backward(taints) { // the last first: what follows it moves
		if t.Key == key {
			path := fmt.Sprintf("/spec/taints/%d", i)
			patch = append(patch, operation{"test", path, t}, operation{"remove", path, nil})
		}
	}
	return patch
}
