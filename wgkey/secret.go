package wgkey

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"golang.org/x/crypto/curve25519"
)

const redacted = "(secret)"

// ErrSecret is what marshalling a secret returns.
var ErrSecret = errors.New("a secret key is never marshalled")

// secret is the part that private and preshared keys share. The bytes sit in
// a closure: fmt's reflection prints those of an unexported field, without
// asking its methods, even through a pointer, but a func only as an address.
type secret struct{ b func() [Size]byte }

func newSecret(b [Size]byte) secret { return secret{func() [Size]byte { return b }} }

// IsZero reports whether no key is set.
func (s secret) IsZero() bool { return s.b == nil }

// String never prints the key.
func (s secret) String() string { return redacted }

// GoString never prints the key.
func (s secret) GoString() string { return redacted }

// Format never prints the key, whatever the verb.
func (s secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer; it never shows the key.
func (s secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails with ErrSecret, so that encoding/json, YAML and
// the like cannot write the key.
func (s secret) MarshalText() ([]byte, error) { return nil, ErrSecret }

// Reveal returns a copy of the key's bytes: for the key store and for the
// WireGuard engine alone. The zero key reveals zeroes.
func (s secret) Reveal() [Size]byte {
	if s.b == nil {
		return [Size]byte{}
	}
	return s.b()
}

// RevealHex returns the form that the UAPI protocol takes; see Reveal.
func (s secret) RevealHex() string {
	b := s.Reveal()
	return hex.EncodeToString(b[:])
}

// RevealBase64 returns the form that wg(8) keeps in files; see Reveal.
func (s secret) RevealBase64() string {
	b := s.Reveal()
	return base64.StdEncoding.EncodeToString(b[:])
}

func (s secret) equal(o secret) bool {
	a, b := s.Reveal(), o.Reveal()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// PrivateKey is a node's Curve25519 private key. The zero value means "no
// key". Compare with Equal; == does not compile.
type PrivateKey struct {
	secret
	public func() PublicKey // derives it once; nil for the zero key
}

func privateKey(s secret) PrivateKey { return PrivateKey{s, sync.OnceValue(s.public)} }

// NewPrivateKey makes a key from 32 bytes of rand, clamped as RFC 7748
// section 5 says.
func NewPrivateKey(rand io.Reader) (PrivateKey, error) {
	var b [Size]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return PrivateKey{}, fmt.Errorf("read randomness for a private key: %w", err)
	}
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return privateKey(newSecret(b)), nil
}

// ParsePrivateKey reads the base64 form of wg(8). Errors never contain the
// input.
func ParsePrivateKey(s string) (PrivateKey, error) {
	k, err := parseSecret(s)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("private key: %w", err)
	}
	return privateKey(k), nil
}

// Equal compares in constant time.
func (k PrivateKey) Equal(o PrivateKey) bool { return k.equal(o.secret) }

// Public is the public key, derived the first time that it is asked for; the zero
// key's is the zero key.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	return k.public()
}

func (s secret) public() PublicKey {
	b := s.Reveal()
	p, err := curve25519.X25519(b[:], curve25519.Basepoint)
	if err != nil {
		// The base point is no low-order point, and the lengths are right.
		panic("wgkey: X25519 with the base point: " + err.Error())
	}
	return PublicKey(p)
}

// PresharedKey is WireGuard's optional symmetric key of a pair of peers. The
// zero value means "none". Compare with Equal.
type PresharedKey struct{ secret }

// ParsePresharedKey reads the base64 form of wg(8). Errors never contain the
// input.
func ParsePresharedKey(s string) (PresharedKey, error) {
	k, err := parseSecret(s)
	if err != nil {
		return PresharedKey{}, fmt.Errorf("preshared key: %w", err)
	}
	return PresharedKey{k}, nil
}

// NewPresharedKey is the key of these bytes, as an engine tells them; all zero is
// none.
func NewPresharedKey(b [Size]byte) PresharedKey {
	if b == [Size]byte{} {
		return PresharedKey{}
	}
	return PresharedKey{newSecret(b)}
}

// Equal compares in constant time.
func (k PresharedKey) Equal(o PresharedKey) bool { return k.equal(o.secret) }

func parseSecret(s string) (secret, error) {
	b, err := decode(s)
	if err != nil {
		return secret{}, err
	}
	k := [Size]byte(b)
	if k == [Size]byte{} {
		return secret{}, errors.New("all zero is not a key")
	}
	return newSecret(k), nil
}
