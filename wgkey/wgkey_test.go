package wgkey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/wgkey"
)

// RFC 7748, section 6.1: Alice's key pair.
const (
	alicePrivate = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
	alicePublic  = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
)

func TestPublicFromPrivate(t *testing.T) {
	k, err := wgkey.ParsePrivateKey(alicePrivate)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Public().String(); got != alicePublic {
		t.Errorf("public key: got %s, want %s (RFC 7748)", got, alicePublic)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k, err := wgkey.ParsePrivateKey(alicePrivate)
	if err != nil {
		t.Fatal(err)
	}
	psk, err := wgkey.ParsePresharedKey(alicePrivate)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Key wgkey.PrivateKey
		PSK wgkey.PresharedKey
		low wgkey.PrivateKey
	}
	h := holder{k, psk, k}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%t"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+" "+verb+"\n", k, &k, h, &h)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "holder", h)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k, "holder", h)
	for _, form := range []string{alicePrivate, alicePrivate[:12], k.RevealHex(), k.RevealHex()[:12], strings.ToUpper(k.RevealHex()[:12]), "119 7 109", "0x77, 0x7, 0x6d"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("output shows the key as %q:\n%s", form, out.String())
		}
	}
	if _, err := json.Marshal(h); !errors.Is(err, wgkey.ErrSecret) {
		t.Errorf("json.Marshal: got %v, want ErrSecret", err)
	}
}

func TestEqual(t *testing.T) {
	a, _ := wgkey.ParsePrivateKey(alicePrivate)
	b, _ := wgkey.ParsePrivateKey(alicePrivate)
	c, err := wgkey.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(b) || a.Equal(c) || a.Equal(wgkey.PrivateKey{}) || !(wgkey.PrivateKey{}).Equal(wgkey.PrivateKey{}) {
		t.Error("Equal disagrees with the bytes")
	}
}

func TestNewPrivateKeyClamps(t *testing.T) {
	k, err := wgkey.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	b := k.Reveal()
	if b[0]&7 != 0 || b[31]&0xc0 != 0x40 {
		t.Errorf("not clamped: first byte %08b, last byte %08b", b[0], b[31])
	}
	if _, err := wgkey.NewPrivateKey(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness made a key")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":     "",
		"short":     "AAAA",
		"not b64":   strings.Repeat("!", 44),
		"zero":      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"33 bytes":  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"loose end": alicePublic[:42] + "p=", // the last sextet has bits that 32 bytes don't
		"newline":   alicePublic + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := wgkey.ParsePublicKey(in); err == nil {
				t.Errorf("ParsePublicKey(%q) = %s", in, k)
			}
			_, err := wgkey.ParsePrivateKey(in)
			if err == nil {
				t.Errorf("ParsePrivateKey(%q) succeeded", in)
			} else if in != "" && strings.Contains(err.Error(), strings.TrimSpace(in)) {
				t.Errorf("the error shows the input: %v", err)
			}
		})
	}
}

func TestPublicKeyText(t *testing.T) {
	k, err := wgkey.ParsePublicKey(alicePublic)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key  wgkey.PublicKey
		text string
	}{{k, alicePublic}, {wgkey.PublicKey{}, ""}} {
		b, err := json.Marshal(map[string]wgkey.PublicKey{"k": tc.key})
		if err != nil || string(b) != `{"k":"`+tc.text+`"}` {
			t.Errorf("json: %s, %v", b, err)
		}
		back := map[string]wgkey.PublicKey{"k": {1}}
		if err := json.Unmarshal(b, &back); err != nil || back["k"] != tc.key {
			t.Errorf("round trip of %q: %v, %v", tc.text, back, err)
		}
	}
}
