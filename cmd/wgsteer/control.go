package main

import (
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
)

// The control socket speaks HTTP with JSON. Versions are in the paths; within
// one, fields are only ever added.
const (
	pathStatus = "/v1/status" // GET: statusReply
	pathRotate = "/v1/rotate" // POST: rotateReply
	pathGreet  = "/v1/greet"  // POST: greetReply
	pathReload = "/v1/reload" // POST: configurationStatus

	pathLog        = "/v1/log"        // GET: the end of the log, as text
	pathMetrics    = "/v1/metrics"    // GET: what metrics tell, as Prometheus reads it
	pathGoroutines = "/v1/goroutines" // GET: what the daemon's goroutines are at, as text
)

// timeoutParameter of rotate and greet is how long to wait for peers, a Go
// duration.
const timeoutParameter = "timeout"

// statusReply is what `wgsteer status -o json` prints too.
type statusReply struct {
	Version       string              `json:"version"` // of the daemon
	PID           int                 `json:"pid"`
	Configuration configurationStatus `json:"configuration"`
	Source        sourceStatus        `json:"source"`
	dataplane.Status
}

// configurationStatus says which configuration runs.
type configurationStatus struct {
	File   string    `json:"file"`
	Loaded time.Time `json:"loaded"` // when the one that runs was
	// Error says why the last reload was refused; "" when it was not.
	Error string `json:"error,omitempty"`
}

// The kinds of a sourceStatus.
const (
	sourceDirectory  = "directory"
	sourceKubernetes = "kubernetes"
)

// sourceStatus says where the node records come from.
type sourceStatus struct {
	Kind  string `json:"kind"`  // sourceDirectory or sourceKubernetes
	Where string `json:"where"` // its path, or the API server's address
	// Failing says why the API server cannot be read or written to, and Since when
	// that began; "" while it can.
	Failing string    `json:"failing,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Cluster is what was found of it; nil where it is configured.
	Cluster *foundCluster `json:"cluster,omitempty"`
}

// rotateReply is a rotation that was made.
type rotateReply struct {
	dataplane.Rotation
	// Error names the peers that have not taken up the new key yet.
	Error string `json:"error,omitempty"`
}

// greetReply says which peers answer.
type greetReply struct {
	Peers  []string `json:"peers"`
	Silent []string `json:"silent,omitempty"` // of Peers
}

// errorReply is the body of every other code than 200.
type errorReply struct {
	Error string `json:"error"`
}
