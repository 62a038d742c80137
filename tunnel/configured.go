package tunnel

import (
	"slices"

	"github.com/wgsteer/wgsteer/wgkey"
)

// Clone returns a copy that shares no memory with c.
func (c Config) Clone() Config {
	c.Peers = slices.Clone(c.Peers)
	for i, p := range c.Peers {
		c.Peers[i].AllowedIPs = slices.Clone(p.AllowedIPs)
	}
	return c
}

// AsConfigured is what a tunnel is now as Diff wants it: the engine's own word,
// which knows what wg(8) changed, but the endpoints as last configured, so that
// a peer which roamed is left where it is.
func (c Config) AsConfigured(last Config) Config {
	configured := peersByKey(last.Peers)
	c.Peers = slices.Clone(c.Peers)
	for i, p := range c.Peers {
		if q, ok := configured[p.PublicKey]; ok {
			c.Peers[i].Endpoint = q.Endpoint
		}
	}
	return c
}

// Greetings are the peers to greet once the changes that lead to config are
// made: the new ones, those with a new endpoint, and all of them when this
// side's key changes, which ends every session. It is true for those that have
// no session of use.
func (c Changes) Greetings(config Config) map[wgkey.PublicKey]bool {
	keys := make(map[wgkey.PublicKey]bool)
	for _, p := range c.Peers {
		if p.New || p.Endpoint.IsValid() {
			keys[p.PublicKey] = p.New
		}
	}
	if c.PrivateKey != nil {
		for _, p := range config.Peers {
			keys[p.PublicKey] = true
		}
	}
	return keys
}
