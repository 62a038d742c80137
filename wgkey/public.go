package wgkey

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// Size is the length of every WireGuard key in bytes (Curve25519, RFC 7748).
const Size = 32

// PublicKey is a node's Curve25519 public key. It is comparable; the zero
// value means "no key".
type PublicKey [Size]byte

// ParsePublicKey reads the base64 form that wg(8) prints: 44 characters, the
// last of them "=".
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := decode(s)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key %q: %w", s, err)
	}
	k := PublicKey(b)
	if k.IsZero() {
		return PublicKey{}, fmt.Errorf("public key %q: all zero is not a key", s)
	}
	return k, nil
}

// IsZero reports whether k is "no key".
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns the base64 form of wg(8).
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Hex returns the lower-case hexadecimal form of the UAPI protocol
// (https://www.wireguard.com/xplatform/).
func (k PublicKey) Hex() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler; the zero key is empty text.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; empty text is the zero key.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	p, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = p
	return nil
}

func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.StdEncoding.EncodedLen(len(b)) { // the decoder skips line ends
		return nil, errors.New("not base64; expected the 44 characters that wg prints")
	}
	if len(b) != Size {
		return nil, fmt.Errorf("%d bytes; a key has %d", len(b), Size)
	}
	return b, nil
}
