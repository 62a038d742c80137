package kube

import (
	"context"
	"errors"
	"net/netip"
)

// Facts are what a cluster tells of itself.
type Facts struct {
	// ClusterCIDRs hold the pods of all nodes; nil: it does not tell them.
	ClusterCIDRs []netip.Prefix
	// From says where they were found, for people.
	From string
	// PodCIDRs of this node, by its Node; nil: there are none.
	PodCIDRs []netip.Prefix
}

// Discover asks once. An error says that the API server could not be asked, or
// that what it said makes no sense; a cluster that tells nothing is none.
func Discover(ctx context.Context, c *Client, self string) (Facts, error) {
	return Facts{}, errors.ErrUnsupported
}
