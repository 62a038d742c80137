package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/wgsteer/wgsteer/wgkey"
)

// withheldText is what stands for what is taken out.
const withheldText = "(withheld)"

// withheld takes out of texts what must not be in a bug report: secrets that are known,
// and whatever has the form of one but is not known to be public.
type withheld struct {
	mu     sync.Mutex
	public map[string]bool // keys that are, in base64
	hidden map[string]bool
}

func newWithheld() *withheld { return &withheld{public: map[string]bool{}, hidden: map[string]bool{}} }

// allow lets a public key through.
func (w *withheld) allow(key wgkey.PublicKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.public[key.String()] = true
}

// shortestHidden is the shortest text that is taken out, in bytes: less is no secret,
// and would take words apart.
const shortestHidden = 8

// hide takes texts out, also as JSON writes them.
func (w *withheld) hide(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range texts {
		if t = strings.TrimSpace(t); len(t) < shortestHidden || isAddress(t) {
			continue
		}
		w.hidden[t] = true
		if quoted, err := json.Marshal(t); err == nil {
			w.hidden[string(quoted[1:len(quoted)-1])] = true
		}
	}
}

// isAddress tells what is no secret, and in a report in many places: a prefix in a field
// whose name is mistyped.
func isAddress(text string) bool {
	_, noPrefix := netip.ParsePrefix(text)
	_, noAddr := netip.ParseAddr(text)
	_, noPort := netip.ParseAddrPort(text)
	return noPrefix == nil || noAddr == nil || noPort == nil
}

// hideKey takes a private key out, and the checksum that its file has.
func (w *withheld) hideKey(key wgkey.PrivateKey) {
	raw, base64 := key.Reveal(), key.RevealBase64()
	seal := sha256.Sum256([]byte(base64 + "\n"))
	w.allow(key.Public())
	w.hide(base64, key.RevealHex(), strings.ToUpper(key.RevealHex()), hex.EncodeToString(seal[:]))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hidden[string(raw[:])] = true
}

// The forms of secrets: keys as wg(8) writes them, keys and checksums in hexadecimal,
// tokens of service accounts (RFC 7519), and what follows "Bearer" (RFC 6750).
var (
	keyForm    = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
	otherForms = regexp.MustCompile(`[0-9a-fA-F]{64}|eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?|(?i:bearer)[ :=]+[\w.~+/-]{8,}=*`)
)

// clean is text without them.
func (w *withheld) clean(text []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	hidden := make([]string, 0, len(w.hidden))
	for h := range w.hidden {
		hidden = append(hidden, h)
	}
	slices.SortFunc(hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may hold another
	for _, h := range hidden {
		text = bytes.ReplaceAll(text, []byte(h), []byte(withheldText))
	}
	text = otherForms.ReplaceAll(text, []byte(withheldText))
	return keyForm.ReplaceAllFunc(text, func(key []byte) []byte {
		if w.public[string(key)] {
			return key
		}
		return []byte(withheldText)
	})
}
