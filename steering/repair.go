package steering

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The layers whose parts are put back when somebody takes them away.
const (
	layerProgram = "program" // with its pin
	layerPin     = "pin"     // of a map
	layerRoute   = "route"
	layerAddress = "address"
	layerTable   = "nftables"
)

// Repair is a part of steering that stood, that something else took away, and that
// was put back. The kernel is such a something: routes into the tunnel device go
// when that is set down.
type Repair struct {
	Layer string    `json:"layer"` // "program", "pin", "route", "address", "nftables"
	What  string    `json:"what"`  // "guard on the egress of eth0", "route to 10.244.2.0/24", ...
	Times uint64    `json:"times"` // since this process started
	Last  time.Time `json:"last"`
}

// part is one thing that is put back by itself.
type part struct {
	layer  string
	name   string       // of a program or pin
	device int          // index; another device is another part
	prefix netip.Prefix // of a route or address
}

func (p part) String() string {
	switch {
	case p.layer == layerRoute && p.device == 0:
		return fmt.Sprintf("unreachable route to %v", p.prefix)
	case p.layer == layerRoute:
		return fmt.Sprintf("route to %v", p.prefix)
	case p.layer == layerAddress:
		return fmt.Sprintf("address %v", p.prefix)
	case p.layer == layerPin:
		return fmt.Sprintf("pin of map %s", p.name)
	}
	return p.name
}

// repairs tells what is put back from what is new: by what stood at the end of the
// reconciliation before.
type repairs struct {
	stood, stands map[part]bool
	all           map[part]Repair
	fresh         []Repair // of this reconciliation
}

// begin begins a reconciliation.
func (r *repairs) begin() { r.stands, r.fresh = map[part]bool{}, nil }

// stand notes that p is as it should be; put says that it had to be made so.
func (r *repairs) stand(p part, put bool, now time.Time) {
	r.stands[p] = true
	if !put || !r.stood[p] {
		return
	}
	if r.all == nil {
		r.all = map[part]Repair{}
	}
	done := Repair{Layer: p.layer, What: p.String(), Times: r.all[p].Times + 1, Last: now}
	r.all[p] = done
	r.fresh = append(r.fresh, done)
}

// end ends a reconciliation. After one that failed, what stood before still counts:
// it is put back later.
func (r *repairs) end(failed bool) {
	if failed {
		for p := range r.stood {
			r.stands[p] = true
		}
	}
	r.stood = r.stands
}

// list is sorted by layer and name.
func (r *repairs) list() []Repair {
	return slices.SortedFunc(maps.Values(r.all), func(a, b Repair) int {
		return strings.Compare(a.Layer+" "+a.What, b.Layer+" "+b.What)
	})
}
