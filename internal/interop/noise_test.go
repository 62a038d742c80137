package interop_test

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wgsteer/wgsteer/wgkey"
)

// initiator is one handshake and session from the initiator's side, written
// from WireGuard's paper, section 5.4, and from nothing else: what it agrees
// with, agrees with the paper. Names are the paper's.
type initiator struct {
	static, ephemeral *ecdh.PrivateKey
	remote            *ecdh.PublicKey
	psk               [wgkey.Size]byte
	index, peerIndex  uint32
	c, h              [blake2s.Size]byte
	send, receive     cipher.AEAD
	counter           uint64
}

func newInitiator(static wgkey.PrivateKey, remote wgkey.PublicKey, psk wgkey.PresharedKey, index uint32) (*initiator, error) {
	key := static.Reveal()
	i := &initiator{psk: psk.Reveal(), index: index}
	var err error
	if i.static, err = ecdh.X25519().NewPrivateKey(key[:]); err != nil {
		return nil, err
	}
	if i.remote, err = ecdh.X25519().NewPublicKey(remote[:]); err != nil {
		return nil, err
	}
	i.ephemeral, err = ecdh.X25519().GenerateKey(rand.Reader)
	return i, err
}

func mixed(h [blake2s.Size]byte, data []byte) [blake2s.Size]byte {
	return blake2s.Sum256(slices.Concat(h[:], data))
}

// kdf is the paper's Kdf_n.
func kdf(n int, key [blake2s.Size]byte, input []byte) (out [3][blake2s.Size]byte) {
	mac := func(key, data []byte) (sum [blake2s.Size]byte) {
		m := hmac.New(func() hash.Hash {
			h, err := blake2s.New256(nil)
			if err != nil {
				panic(err) // of a key that there is not
			}
			return h
		}, key)
		m.Write(data)
		copy(sum[:], m.Sum(nil))
		return sum
	}
	t0 := mac(key[:], input)
	var last []byte
	for i := range n {
		out[i] = mac(t0[:], append(slices.Clone(last), byte(i+1)))
		last = out[i][:]
	}
	return out
}

func nonce(counter uint64) []byte { return binary.LittleEndian.AppendUint64(make([]byte, 4), counter) }

// seal encrypts into the handshake, and mixes the result into the hash.
func (i *initiator) seal(key [blake2s.Size]byte, plain []byte) ([]byte, error) {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, nonce(0), plain, i.h[:])
	i.h = mixed(i.h, sealed)
	return sealed, nil
}

// agree mixes a shared secret into the chaining key, and returns a key.
func (i *initiator) agree(own *ecdh.PrivateKey, other *ecdh.PublicKey) (key [blake2s.Size]byte, err error) {
	secret, err := own.ECDH(other)
	if err != nil {
		return key, err
	}
	k := kdf(2, i.c, secret)
	i.c = k[0]
	return k[1], nil
}

// initiation is the first message.
func (i *initiator) initiation(now time.Time) ([]byte, error) {
	i.c = blake2s.Sum256([]byte("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"))
	i.h = mixed(mixed(i.c, []byte("WireGuard v1 zx2c4 Jason@zx2c4.com")), i.remote.Bytes())
	public := i.ephemeral.PublicKey().Bytes()
	i.c, i.h = kdf(1, i.c, public)[0], mixed(i.h, public)
	key, err := i.agree(i.ephemeral, i.remote)
	if err != nil {
		return nil, err
	}
	static, err := i.seal(key, i.static.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	if key, err = i.agree(i.static, i.remote); err != nil {
		return nil, err
	}
	stamp := binary.BigEndian.AppendUint64(nil, uint64(now.Unix())+1<<62+10) // TAI64N
	stamp, err = i.seal(key, binary.BigEndian.AppendUint32(stamp, uint32(now.Nanosecond())))
	if err != nil {
		return nil, err
	}
	head := binary.LittleEndian.AppendUint32([]byte{initiation, 0, 0, 0}, i.index)
	return withMACs(slices.Concat(head, public, static, stamp), i.remote.Bytes())
}

// withMACs appends both MACs, the second empty.
func withMACs(message, receiver []byte) ([]byte, error) {
	key := blake2s.Sum256(append([]byte("mac1----"), receiver...))
	mac, err := blake2s.New128(key[:])
	if err != nil {
		return nil, err
	}
	mac.Write(message)
	return append(mac.Sum(message), make([]byte, blake2s.Size128)...), nil
}

// finish takes the response, and derives the session's keys.
func (i *initiator) finish(m []byte) error {
	if len(m) != 92 || m[0] != response || binary.LittleEndian.Uint32(m[8:]) != i.index {
		return fmt.Errorf("no response for this handshake: %d bytes of type %d", len(m), m[0])
	}
	i.peerIndex = binary.LittleEndian.Uint32(m[4:])
	public, empty := m[12:44], m[44:60]
	other, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return err
	}
	i.c, i.h = kdf(1, i.c, public)[0], mixed(i.h, public)
	for _, own := range []*ecdh.PrivateKey{i.ephemeral, i.static} {
		secret, err := own.ECDH(other)
		if err != nil {
			return err
		}
		i.c = kdf(1, i.c, secret)[0]
	}
	k := kdf(3, i.c, i.psk[:])
	i.c, i.h = k[0], mixed(i.h, k[1][:])
	aead, err := chacha20poly1305.New(k[2][:])
	if err != nil {
		return err
	}
	if _, err := aead.Open(nil, nonce(0), empty, i.h[:]); err != nil {
		return fmt.Errorf("the response does not prove itself: %w", err)
	}
	return i.derive()
}

func (i *initiator) derive() (err error) {
	k := kdf(2, i.c, nil)
	if i.send, err = chacha20poly1305.New(k[0][:]); err != nil {
		return err
	}
	i.receive, err = chacha20poly1305.New(k[1][:])
	return err
}

// transport is a message that carries a packet.
func (i *initiator) transport(packet []byte) []byte {
	head := binary.LittleEndian.AppendUint32([]byte{transport, 0, 0, 0}, i.peerIndex)
	head = binary.LittleEndian.AppendUint64(head, i.counter)
	padded := append(slices.Clone(packet), make([]byte, -len(packet)&15)...)
	i.counter++
	return i.send.Seal(head, nonce(i.counter-1), padded, nil)
}

// open is what a transport message carries: a packet, padded, or nothing.
func (i *initiator) open(m []byte) ([]byte, error) {
	if len(m) < keepaliveLength || m[0] != transport || binary.LittleEndian.Uint32(m[4:]) != i.index {
		return nil, errors.New("no transport message of this session")
	}
	return i.receive.Open(nil, nonce(binary.LittleEndian.Uint64(m[8:])), m[16:], nil)
}
