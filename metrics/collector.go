package metrics

import (
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// Build is what wgsteer_build_info says.
type Build struct{ Version, Revision, GoVersion string }

// Collector is a prometheus.Collector over the status of one data plane.
type Collector struct {
	status func() dataplane.Status
	build  Build
	descs  descs
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a collector that calls status, concurrently, once a scrape.
func NewCollector(status func() dataplane.Status, build Build) *Collector {
	return &Collector{status: status, build: build, descs: newDescs()}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs.all() {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := scrape{out: out, d: &c.descs, status: c.status()}
	s.gauge(c.descs.buildInfo, 1, c.build.Version, c.build.Revision, c.build.GoVersion)
	s.plane()
	s.tunnel()
	s.peers()
	s.steering()
}

// scrape is one collection. Its methods send metrics in the order of Status.
type scrape struct {
	out    chan<- prometheus.Metric
	d      *descs
	status dataplane.Status
}

func (s *scrape) plane() {
	st := &s.status
	for _, state := range []dataplane.State{
		dataplane.Stopped, dataplane.Checking, dataplane.Guarding, dataplane.Tunnelling,
		dataplane.Steering, dataplane.Ready, dataplane.Degraded,
	} {
		s.gauge(s.d.state, truth(st.State == state), st.Interface, string(state))
	}
	s.gauge(s.d.ready, truth(st.Ready), st.Interface)
	if !st.Since.IsZero() {
		s.gauge(s.d.stateSince, float64(st.Since.UnixMilli())/1000, st.Interface)
	}
	warnings := 0
	for _, p := range st.Problems {
		if p.Warning {
			warnings++
		}
	}
	s.gauge(s.d.problems, float64(warnings), st.Interface, "warning")
	s.gauge(s.d.problems, float64(len(st.Problems)-warnings), st.Interface, "error")
}

func (s *scrape) tunnel() {
	st, t := &s.status, &s.status.Tunnel
	s.gauge(s.d.deviceInfo, 1, st.Interface, key(st.PublicKey), st.Node, string(st.Backend), string(st.Policy), addrPort(st.Endpoint))
	s.gauge(s.d.backendInfo, 1, st.Interface, string(st.Backend), st.BackendReason)
	s.gauge(s.d.listenPort, float64(st.ListenPort), st.Interface)
	s.gauge(s.d.mtu, float64(st.MTU), st.Interface)
	s.gauge(s.d.mtuAllowed, float64(st.MTUSource.Allowed), st.Interface)
	// The direction is seen from this node: tx is on its way to a peer.
	s.counts(t.ToUDP, "udp", "tx")
	s.counts(t.FromUDP, "udp", "rx")
	if st.Backend != dataplane.Kernel { // which counts nothing there: no metric rather than 0
		s.counts(t.FromTUN, "tun", "tx")
		s.counts(t.ToTUN, "tun", "rx")
		s.counter(s.d.readPackets, t.TUNReads.Packets, st.Interface)
		s.counter(s.d.readSize, t.TUNReads.Bytes, st.Interface)
	}
	for reason, n := range t.Drops {
		s.gauge(s.d.drops, float64(n), st.Interface, string(reason))
	}
	s.gauge(s.d.tunnelFailing, truth(t.Failing != ""), st.Interface)
}

func (s *scrape) peers() {
	device := s.status.Interface
	s.gauge(s.d.peers, float64(len(s.status.Peers)), device)
	for _, p := range s.status.Peers {
		k := p.PublicKey.String()
		s.gauge(s.d.peerInfo, 1, device, k, p.Name, addrPort(p.Endpoint), allowedIPs(p))
		s.counter(s.d.peerReceive, p.RxBytes, device, k, p.Name)
		s.counter(s.d.peerTransmit, p.TxBytes, device, k, p.Name)
		handshake := int64(0)
		if !p.LastHandshake.IsZero() {
			handshake = p.LastHandshake.Unix()
		}
		s.gauge(s.d.peerHandshake, float64(handshake), device, k, p.Name)
		s.counter(s.d.peerSteeredPackets, p.Steered.TxPackets, device, p.Name, "tx")
		s.counter(s.d.peerSteeredPackets, p.Steered.RxPackets, device, p.Name, "rx")
		s.counter(s.d.peerSteeredBytes, p.Steered.TxBytes, device, p.Name, "tx")
		s.counter(s.d.peerSteeredBytes, p.Steered.RxBytes, device, p.Name, "rx")
	}
}

func (s *scrape) steering() {
	device, st := s.status.Interface, &s.status.Steering
	for _, v := range st.Verdicts {
		s.counter(s.d.verdictPackets, v.Packets, device, v.Hook, v.Verdict, v.Reason)
		s.counter(s.d.verdictBytes, v.Bytes, device, v.Hook, v.Verdict, v.Reason)
	}
	for _, a := range st.Devices {
		s.gauge(s.d.steeredDevice, truth(a.Error == ""), device, a.Name, a.Mechanism)
	}
	s.gauge(s.d.unsteerable, float64(len(st.Unsteerable)), device)
	repairs := map[string]uint64{}
	for _, r := range st.Repairs {
		repairs[r.Layer] += r.Times
	}
	for layer, times := range repairs {
		s.counter(s.d.repairs, times, device, layer)
	}
	s.gauge(s.d.steeringFailing, truth(st.Failing != ""), device)
}

func (s *scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.send(d, prometheus.GaugeValue, v, labels)
}

func (s *scrape) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.send(d, prometheus.CounterValue, float64(v), labels)
}

// send never panics: labels come from records, and one that is no UTF-8 makes
// an invalid metric, which the scrape reports.
func (s *scrape) send(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) {
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.out <- m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// counts sends both counters of one boundary.
func (s *scrape) counts(c tunnel.Counts, end, direction string) {
	s.counter(s.d.packets, c.Packets, s.status.Interface, end, direction)
	s.counter(s.d.bytes, c.Bytes, s.status.Interface, end, direction)
}

// key is "" for none.
func key(k wgkey.PublicKey) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

// addrPort is "" for none, where netip says "invalid AddrPort".
func addrPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// allowedIPs are what a peer's packets may carry: its pods and its node.
func allowedIPs(p dataplane.Peer) string {
	var list []string
	for _, c := range p.PodCIDRs {
		list = append(list, c.String())
	}
	for _, a := range p.NodeIPs {
		list = append(list, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return strings.Join(list, ",")
}
