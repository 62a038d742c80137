//go:build race

package kube_test

import "time"

// joinWithin: the race detector makes all of it ten times as slow.
const joinWithin = 50 * time.Second
