//go:build !race

package kube_test

import "time"

// joinWithin is how soon a node has to know 500 others.
const joinWithin = 5 * time.Second
