package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// descs are the metrics, one field each; their help is the documentation.
type descs struct {
	buildInfo, state, ready, stateSince, problems *prometheus.Desc

	deviceInfo, backendInfo, listenPort   *prometheus.Desc
	mtu, mtuAllowed                       *prometheus.Desc
	packets, bytes, readPackets, readSize *prometheus.Desc
	drops, tunnelFailing                  *prometheus.Desc

	peers, peerInfo, peerReceive, peerTransmit, peerHandshake *prometheus.Desc
	peerSteeredPackets, peerSteeredBytes                      *prometheus.Desc

	verdictPackets, verdictBytes, steeredDevice, unsteerable, repairs, steeringFailing *prometheus.Desc
}

// newDescs makes them. The labels: device and public_key as the known exporter
// has them (github.com/mdlayher/wireguard_exporter), name is the peer's node.
func newDescs() descs {
	perDevice := []string{"device"}
	perPeer := []string{"device", "public_key", "name"}
	return descs{
		buildInfo:  desc("wgsteer_build_info", "How this binary was built; always 1.", "version", "revision", "go_version"),
		state:      desc("wgsteer_state", "1 for the state that the data plane is in, 0 for the others.", "device", "state"),
		ready:      desc("wgsteer_ready", "1 while this node's pods and its peers' can talk, else 0.", perDevice...),
		stateSince: desc("wgsteer_state_since_timestamp_seconds", "Unix time at which the present state was entered.", perDevice...),
		problems:   desc("wgsteer_problems", "Problems with node records and between them, by severity.", "device", "severity"),

		deviceInfo: desc("wireguard_device_info", "What a tunnel device is; always 1. The name is this node's.",
			"device", "public_key", "name", "backend", "policy", "endpoint"),
		backendInfo: desc("wgsteer_backend_info", "What runs the tunnel, userspace or kernel, and why; always 1.", "device", "backend", "reason"),
		listenPort:  desc("wgsteer_listen_port", "UDP port of the tunnel.", perDevice...),
		mtu:         desc("wgsteer_mtu_bytes", "MTU of the tunnel device.", perDevice...),
		mtuAllowed:  desc("wgsteer_mtu_allowed_bytes", "MTU that the smallest uplink leaves room for in the tunnel, over IPv6.", perDevice...),
		packets: desc("wgsteer_tunnel_packets_total",
			"Packets through an end of the tunnel: the tun end counts them after segmentation, the udp end counts datagrams, handshakes included. The kernel's backend counts the udp end alone.", "device", "end", "direction"),
		bytes:         desc("wgsteer_tunnel_bytes_total", "Bytes through an end of the tunnel; see wgsteer_tunnel_packets_total.", "device", "end", "direction"),
		readPackets:   desc("wgsteer_tun_read_packets_total", "Packets that the kernel handed to the tunnel device's reader, GSO packets whole.", perDevice...),
		readSize:      desc("wgsteer_tun_read_bytes_total", "Bytes that the kernel handed to the tunnel device's reader.", perDevice...),
		drops:         desc("wgsteer_tunnel_drops", "Packets that ended inside the tunnel, by reason. One reason, a difference of counters, may move back by what is in flight; hence a gauge.", "device", "reason"),
		tunnelFailing: desc("wgsteer_tunnel_failing", "1 while a reader of the tunnel is dead or stuck, else 0.", perDevice...),

		peers:         desc("wgsteer_peers", "Nodes on the other ends of the tunnel.", perDevice...),
		peerInfo:      desc("wireguard_peer_info", "What a peer is; always 1. The public key is the peer's, the name its node's.", "device", "public_key", "name", "endpoint", "allowed_ips"),
		peerReceive:   desc("wireguard_peer_receive_bytes_total", "Bytes that came from a peer, as wg(8) counts them: with WireGuard's own headers and messages.", perPeer...),
		peerTransmit:  desc("wireguard_peer_transmit_bytes_total", "Bytes that went to a peer, as wg(8) counts them: with WireGuard's own headers and messages.", perPeer...),
		peerHandshake: desc("wireguard_peer_last_handshake_seconds", "Unix time of the last handshake with a peer; 0 when there was none.", perPeer...),
		peerSteeredPackets: desc("wgsteer_peer_steered_packets_total",
			"Inner packets that the eBPF programs saw go to a peer (tx) or come from it (rx), GSO packets whole.", "device", "name", "direction"),
		peerSteeredBytes: desc("wgsteer_peer_steered_bytes_total", "Bytes of the packets in wgsteer_peer_steered_packets_total.", "device", "name", "direction"),

		verdictPackets:  desc("wgsteer_steering_packets_total", "Packets by what the eBPF programs and the nftables table decided, and why.", "device", "hook", "verdict", "reason"),
		verdictBytes:    desc("wgsteer_steering_bytes_total", "Bytes of the packets in wgsteer_steering_packets_total.", "device", "hook", "verdict", "reason"),
		steeredDevice:   desc("wgsteer_steered_device", "1 for a device whose packets are steered, 0 for one that should be and is not.", "device", "steered_device", "mechanism"),
		unsteerable:     desc("wgsteer_unsteerable_devices", "Devices that may carry pod packets past the programs.", perDevice...),
		repairs:         desc("wgsteer_steering_repairs_total", "Parts of steering that something else took away and that were put back, by layer.", "device", "layer"),
		steeringFailing: desc("wgsteer_steering_failing", "1 while steering is not as it should be, else 0.", perDevice...),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// all lists the descriptions.
func (d *descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.buildInfo, d.state, d.ready, d.stateSince, d.problems,
		d.deviceInfo, d.backendInfo, d.listenPort, d.mtu, d.mtuAllowed,
		d.packets, d.bytes, d.readPackets, d.readSize,
		d.drops, d.tunnelFailing,
		d.peers, d.peerInfo, d.peerReceive, d.peerTransmit, d.peerHandshake,
		d.peerSteeredPackets, d.peerSteeredBytes,
		d.verdictPackets, d.verdictBytes, d.steeredDevice, d.unsteerable, d.repairs, d.steeringFailing,
	}
}
