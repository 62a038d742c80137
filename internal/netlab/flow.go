package netlab

import (
	"fmt"
	"slices"
	"time"
)

// Protocol of a flow.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	ICMP Protocol = "icmp"
)

// Flow is traffic between two pods or nodes.
type Flow struct {
	From     string   `json:"from"` // as Lab.Find takes it: "node-a/pod-1" or "node-a"
	To       string   `json:"to"`
	Protocol Protocol `json:"protocol"`
	Family   int      `json:"family"` // 4 or 6
}

func (f Flow) String() string {
	return fmt.Sprintf("%s > %s %s IPv%d", f.From, f.To, f.Protocol, f.Family)
}

// Result is what became of a flow.
type Result struct {
	Flow
	OK bool `json:"ok"`
	// RTT in milliseconds: of TCP how long connecting took, otherwise the
	// median of the answered requests.
	RTT float64 `json:"rttMs"`
	// Bytes of payload that came back as they were sent.
	Bytes int64 `json:"bytes"`
	// Resent counts the requests of UDP and ICMP that had no answer in time and
	// were sent again.
	Resent int    `json:"resent,omitempty"`
	Error  string `json:"error,omitempty"`
}

// FlowOptions says how flows are run. The zero value works.
type FlowOptions struct {
	Bytes    int64         // each way, of a TCP flow; default 1 MiB
	Requests int           // of a UDP or ICMP flow; default 10
	Resend   time.Duration // after which a request is sent again; default 1 s
	Timeout  time.Duration // of a flow; default 10 s
	Parallel int           // flows at once; default 4
	// Done is called after each flow, never concurrently; may be nil.
	Done func(Result)
}

func (o FlowOptions) withDefaults() FlowOptions {
	if o.Bytes == 0 {
		o.Bytes = 1 << 20
	}
	if o.Resend == 0 {
		o.Resend = time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	o.Requests = orDefault(o.Requests, 10)
	o.Parallel = orDefault(o.Parallel, 4)
	return o
}

// Flows is one flow of each protocol and family for each ordered pair of nodes.
// The pods take turns.
func (l *Lab) Flows() []Flow {
	var flows []Flow
	for _, from := range l.Nodes {
		for _, to := range l.Nodes {
			if from == to {
				continue
			}
			for _, family := range l.Families {
				for _, protocol := range []Protocol{TCP, UDP, ICMP} {
					turn := len(flows)
					flows = append(flows, Flow{
						From:     from.Pods[turn%len(from.Pods)].FullName(),
						To:       to.Pods[turn/len(from.Pods)%len(to.Pods)].FullName(),
						Protocol: protocol,
						Family:   family,
					})
				}
			}
		}
	}
	return flows
}

// median of some durations, in milliseconds; 0 of none.
func median(of []time.Duration) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return milliseconds(of[len(of)/2])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
