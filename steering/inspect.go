package steering

import (
	"net/netip"
)

// What Inspect functions read, for people who look for a fault elsewhere: all of it as
// it is in the kernel, whoever made it and whether a daemon lives. They change nothing.

// most bounds what is listed of one kind; a node of a large cluster has less.
const most = 20_000

// InspectedMaps is what the pinned maps hold.
type InspectedMaps struct {
	Strict        bool     `json:"strict"`
	TunnelIfindex uint32   `json:"tunnelIfindex"` // 0: none
	VXLANPorts    []uint16 `json:"vxlanPorts"`
	GenevePorts   []uint16 `json:"genevePorts"`
	// Prefixes sorted, the peers' names with them.
	Prefixes []InspectedPrefix `json:"prefixes"`
	Verdicts []Verdict         `json:"verdicts"` // those above zero
	Peers    []PeerCounts      `json:"peers"`
}

// InspectedPrefix is an entry of the prefixes map.
type InspectedPrefix struct {
	Prefix netip.Prefix `json:"prefix"`
	Class  string       `json:"class"`
	Peer   string       `json:"peer,omitempty"`
}

// InspectedPrograms is what is pinned and attached.
type InspectedPrograms struct {
	Pins []InspectedPin `json:"pins"`
	// Missing names the maps' pins that are not there.
	Missing []string `json:"missing,omitempty"`
	// Devices have something on them, ours or others'.
	Devices []InspectedDevice `json:"devices"`
}

// InspectedPin is a pin of ours.
type InspectedPin struct {
	Path string `json:"path"`
	// Of a map.
	Type       string `json:"type,omitempty"`
	MaxEntries uint32 `json:"maxEntries,omitempty"`
	// Of a link: 0 where its device is gone.
	Program uint32 `json:"program,omitempty"`
	Ifindex uint32 `json:"ifindex,omitempty"`
	Error   string `json:"error,omitempty"`
}

// InspectedDevice says which programs a device has, in the order in which they see packets.
type InspectedDevice struct {
	Name           string   `json:"name"`
	Index          int      `json:"index"`
	TCXEgress      []string `json:"tcxEgress,omitempty"`
	TCXIngress     []string `json:"tcxIngress,omitempty"`
	FiltersEgress  []string `json:"filtersEgress,omitempty"`
	FiltersIngress []string `json:"filtersIngress,omitempty"`
	Errors         []string `json:"errors,omitempty"`
}

// InspectedNetwork is the network namespace.
type InspectedNetwork struct {
	Links     []InspectedLink  `json:"links"`
	Addresses []string         `json:"addresses"` // "eth0 192.0.2.1/24 global"
	Routes    []InspectedRoute `json:"routes"`    // of all tables
	Rules     []string         `json:"rules"`
	// Cut says which lists are longer than what is here, and how long they are.
	Cut []string `json:"cut,omitempty"`
}

// InspectedLink is a network device.
type InspectedLink struct {
	Name       string            `json:"name"`
	Index      int               `json:"index"`
	Kind       string            `json:"kind"`
	MTU        int               `json:"mtu"`
	Flags      string            `json:"flags"`
	State      string            `json:"state"`
	Master     int               `json:"master,omitempty"`
	Parent     int               `json:"parent,omitempty"`
	LinkLayer  string            `json:"linkLayer,omitempty"`
	Alias      string            `json:"alias,omitempty"`
	TxQueueLen int               `json:"txQueueLen"`
	Qdiscs     []string          `json:"qdiscs,omitempty"`
	Counters   map[string]uint64 `json:"counters,omitempty"`
}

// InspectedRoute is a route, or one of its next hops.
type InspectedRoute struct {
	Destination string `json:"destination"`
	Type        string `json:"type"`
	Table       int    `json:"table"`
	Protocol    int    `json:"protocol"`
	Metric      uint32 `json:"metric"`
	Device      int    `json:"device,omitempty"`
	Gateway     string `json:"gateway,omitempty"`
	Source      string `json:"source,omitempty"`
	MTU         int    `json:"mtu,omitempty"`
	Ours        bool   `json:"ours,omitempty"`
}

// InspectedTable is our nftables table, and the names of others'.
type InspectedTable struct {
	Name   string `json:"name"`
	Exists bool   `json:"exists"`
	// Damage says what of it is not as we make it, "" if nothing.
	Damage   string              `json:"damage,omitempty"`
	Rules    map[string][]string `json:"rules"` // by chain: what their comments say
	Sets     map[string][]string `json:"sets"`
	Counters []InspectedCounter  `json:"counters"`
	// Others are the other tables of this network namespace, by family and name.
	Others []string `json:"others"`
}

// InspectedCounter is a counter of the table.
type InspectedCounter struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}
