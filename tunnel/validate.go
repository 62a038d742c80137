package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// The MTUs that a tunnel device may have, in bytes. The smallest is what every
// IPv4 host accepts (RFC 791, section 3.1); the largest is what one UDP
// datagram can carry beside WireGuard's 32 bytes.
const (
	MinMTU = 576
	MaxMTU = 65535 - 32
)

// maxKeepalive is what the 16 bits of wg(8) hold.
const maxKeepalive = 65535 * time.Second

// Validate says what is wrong with the configuration, all of it.
func (c Config) Validate() error {
	var errs []error
	if c.PrivateKey.IsZero() {
		errs = append(errs, errors.New("no private key"))
	}
	if c.MTU != 0 && (c.MTU < MinMTU || c.MTU > MaxMTU) {
		errs = append(errs, fmt.Errorf("MTU %d: not between %d and %d bytes", c.MTU, MinMTU, MaxMTU))
	}
	own := c.PrivateKey.Public()
	seen := make(map[wgkey.PublicKey]bool, len(c.Peers))
	claimed := make(map[netip.Prefix]wgkey.PublicKey)
	for _, p := range c.Peers {
		switch {
		case p.PublicKey.IsZero():
			errs = append(errs, errors.New("a peer has no public key"))
			continue
		case p.PublicKey == own:
			errs = append(errs, fmt.Errorf("peer %s: that is this tunnel's own public key", p.PublicKey))
		case seen[p.PublicKey]:
			errs = append(errs, fmt.Errorf("peer %s: occurs twice; a public key belongs to one peer", p.PublicKey))
		}
		seen[p.PublicKey] = true
		if err := p.validate(claimed); err != nil {
			errs = append(errs, fmt.Errorf("peer %s: %w", p.PublicKey, err))
		}
	}
	return errors.Join(errs...)
}

// validate adds the peer's prefixes to claimed.
func (p Peer) validate(claimed map[netip.Prefix]wgkey.PublicKey) error {
	var errs []error
	if e := p.Endpoint; e != (netip.AddrPort{}) {
		switch a := e.Addr(); {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			errs = append(errs, fmt.Errorf("endpoint %s: not an address to send to", e))
		case e.Port() == 0:
			errs = append(errs, fmt.Errorf("endpoint %s: no port", e))
		}
	}
	if k := p.PersistentKeepalive; k < 0 || k > maxKeepalive {
		errs = append(errs, fmt.Errorf("persistent keepalive %v: not between 0 and %v", k, maxKeepalive))
	}
	for _, ip := range p.AllowedIPs {
		if !ip.IsValid() || ip.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("allowed IP %s: not an IPv4 or IPv6 prefix", ip))
			continue
		}
		ip = ip.Masked()
		if other, ok := claimed[ip]; ok && other != p.PublicKey {
			errs = append(errs, fmt.Errorf("allowed IP %s: claimed by peer %s too; a prefix belongs to one peer", ip, other))
			continue
		}
		claimed[ip] = p.PublicKey
	}
	return errors.Join(errs...)
}
