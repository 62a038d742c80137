package wgkey_test

import (
	"crypto/rand"
	"testing"

	"github.com/wgsteer/wgsteer/wgkey"
)

// BenchmarkPrivateKey is what a key's operations cost; the public one is derived once a
// key, so that "public" is of a new key each time.
func BenchmarkPrivateKey(b *testing.B) {
	key, err := wgkey.ParsePrivateKey(alicePrivate)
	if err != nil {
		b.Fatal(err)
	}
	other, err := wgkey.NewPrivateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	run(b, "op=generate", func() bool { k, err := wgkey.NewPrivateKey(rand.Reader); return err == nil && !k.IsZero() })
	run(b, "op=parse", func() bool { _, err := wgkey.ParsePrivateKey(alicePrivate); return err == nil })
	run(b, "op=format", func() bool { return key.RevealBase64() == alicePrivate })
	run(b, "op=equal", func() bool { return !key.Equal(other) })
	run(b, "op=public", func() bool {
		k, err := wgkey.ParsePrivateKey(alicePrivate)
		return err == nil && !k.Public().IsZero()
	})
	run(b, "op=public-again", func() bool { return !key.Public().IsZero() })
}

func BenchmarkPublicKey(b *testing.B) {
	key, err := wgkey.ParsePublicKey(alicePublic)
	if err != nil {
		b.Fatal(err)
	}
	run(b, "op=parse", func() bool { k, err := wgkey.ParsePublicKey(alicePublic); return err == nil && k == key })
	run(b, "op=format", func() bool { return key.String() == alicePublic })
	run(b, "op=format-hex", func() bool { return len(key.Hex()) == 2*wgkey.Size })
}

func run(b *testing.B, name string, works func() bool) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !works() {
				b.Fatal("it does not work")
			}
		}
	})
}
