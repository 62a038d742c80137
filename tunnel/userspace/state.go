package userspace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"github.com/wgsteer/wgsteer/tunnel"
	"github.com/wgsteer/wgsteer/wgkey"
)

// state is what an engine says of itself. It holds secrets: nobody keeps one.
type state struct {
	config tunnel.Config      // endpoints as of now; without MTU
	peers  []tunnel.PeerStats // of config's peers, in the same order
}

func readState(d *device.Device) (state, error) {
	text, err := d.IpcGet()
	if err != nil {
		return state{}, fmt.Errorf("read the engine's state: %w", err)
	}
	runtime.Gosched() // packets go first
	s, err := parseState(text)
	if err != nil {
		return state{}, fmt.Errorf("read the engine's state: %w", err)
	}
	return s, nil
}

// parseState reads the answer to UAPI's get. Keys that it does not know are
// skipped. Errors name the key but never the value.
func parseState(text string) (state, error) {
	var s state
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return state{}, errors.New("a line without \"=\"")
		}
		if err := s.set(key, value); err != nil {
			return state{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	return s, nil
}

// set takes one line; a public_key line begins a peer.
func (s *state) set(key, value string) error {
	if key == "public_key" {
		k, err := parseHex(value)
		if err != nil {
			return err
		}
		s.config.Peers = append(s.config.Peers, tunnel.Peer{PublicKey: k})
		s.peers = append(s.peers, tunnel.PeerStats{PublicKey: k})
		return nil
	}
	if n := len(s.peers); n > 0 {
		return setPeer(&s.config.Peers[n-1], &s.peers[n-1], key, value)
	}
	return setDevice(&s.config, key, value)
}

func setDevice(c *tunnel.Config, key, value string) error {
	switch key {
	case "private_key":
		k, err := parseHex(value)
		if err != nil || k == [wgkey.Size]byte{} {
			return err
		}
		c.PrivateKey, err = wgkey.NewPrivateKey(bytes.NewReader(k[:])) // the engine has clamped it as well
		return err
	case "listen_port":
		n, err := parseUint(value, 16)
		c.ListenPort = uint16(n)
		return err
	case "fwmark":
		n, err := parseUint(value, 32)
		c.FirewallMark = uint32(n)
		return err
	}
	return nil
}

func setPeer(p *tunnel.Peer, s *tunnel.PeerStats, key, value string) error {
	var n uint64
	var err error
	switch key {
	case "preshared_key":
		var k [wgkey.Size]byte
		k, err = parseHex(value)
		p.PresharedKey = wgkey.NewPresharedKey(k)
	case "endpoint":
		var a netip.AddrPort
		a, err = netip.ParseAddrPort(value)
		p.Endpoint = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		s.Endpoint = p.Endpoint
	case "allowed_ip":
		var ip netip.Prefix
		if ip, err = netip.ParsePrefix(value); err == nil {
			p.AllowedIPs = append(p.AllowedIPs, ip.Masked())
		}
	case "persistent_keepalive_interval":
		n, err = parseUint(value, 16)
		p.PersistentKeepalive = time.Duration(n) * time.Second
	case "last_handshake_time_sec":
		if n, err = parseUint(value, 63); err == nil && n != 0 {
			s.LastHandshake = time.Unix(int64(n), 0)
		}
	case "last_handshake_time_nsec": // comes after the seconds
		if n, err = parseUint(value, 30); err == nil && n != 0 {
			if s.LastHandshake.IsZero() {
				s.LastHandshake = time.Unix(0, 0)
			}
			s.LastHandshake = s.LastHandshake.Add(time.Duration(n))
		}
	case "rx_bytes":
		s.RxBytes, err = parseUint(value, 64)
	case "tx_bytes":
		s.TxBytes, err = parseUint(value, 64)
	}
	return err
}

// sorted returns the peers' counters by public key.
func (s state) sorted() []tunnel.PeerStats {
	peers := slices.Clone(s.peers)
	slices.SortFunc(peers, func(a, b tunnel.PeerStats) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	return peers
}

// peer finds one peer's counters.
func (s state) peer(key wgkey.PublicKey) (tunnel.PeerStats, bool) {
	for _, p := range s.peers {
		if p.PublicKey == key {
			return p, true
		}
	}
	return tunnel.PeerStats{}, false
}

var (
	errNotKey    = errors.New("not a key of 64 hexadecimal digits")
	errNotNumber = errors.New("not a number of the right size")
)

func parseHex(s string) (k [wgkey.Size]byte, err error) {
	if len(s) != hex.EncodedLen(wgkey.Size) {
		return k, errNotKey
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return k, errNotKey
	}
	return k, nil
}

func parseUint(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, errNotNumber
	}
	return n, nil
}
