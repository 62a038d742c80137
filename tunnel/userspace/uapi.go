package userspace

import (
	"fmt"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// The functions here write the UAPI protocol of
// https://www.wireguard.com/xplatform/. Their output holds secrets.

// identityText sets what belongs to the device, without the port.
func identityText(c tunnel.Changes) string {
	var b strings.Builder
	if c.PrivateKey != nil {
		fmt.Fprintf(&b, "private_key=%s\n", c.PrivateKey.RevealHex())
	}
	if c.FirewallMark != nil {
		fmt.Fprintf(&b, "fwmark=%d\n", *c.FirewallMark)
	}
	return b.String()
}

func portText(port uint16) string { return fmt.Sprintf("listen_port=%d\n", port) }

// peerText adds or changes one peer. A prefix that another peer has moves
// over: the engine's trie replaces the owner in one step.
func peerText(p tunnel.PeerChange) string {
	var b strings.Builder
	fmt.Fprintf(&b, "public_key=%s\n", p.PublicKey.Hex())
	if !p.New {
		b.WriteString("update_only=true\n")
	}
	if p.PresharedKey != nil {
		fmt.Fprintf(&b, "preshared_key=%s\n", p.PresharedKey.RevealHex())
	}
	if p.Endpoint.IsValid() {
		fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoint)
	}
	if p.PersistentKeepalive != nil {
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", *p.PersistentKeepalive/time.Second)
	}
	for _, ip := range p.Removed {
		fmt.Fprintf(&b, "allowed_ip=-%s\n", ip)
	}
	for _, ip := range p.Added {
		fmt.Fprintf(&b, "allowed_ip=%s\n", ip)
	}
	return b.String()
}

func removalText(key wgkey.PublicKey) string {
	return fmt.Sprintf("public_key=%s\nupdate_only=true\nremove=true\n", key.Hex())
}
