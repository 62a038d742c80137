package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/wgkey"
)

// yellow is an SGR parameter, as are bold, red and green.
const yellow = "33"

// paint colours s where colour says so.
func paint(colour bool, sgr, s string) string {
	if !colour {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// age is a duration as people say it: its largest unit, and the next where
// that makes a difference.
func age(d time.Duration) string {
	s := int(d / time.Second)
	switch {
	case s < 1:
		return "less than 1 s"
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 2*3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d days", s/86400)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// keyText is "" for no key, where String prints zeroes.
func keyText(k wgkey.PublicKey) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

// addrPortText is "" for none, where String says "invalid AddrPort".
func addrPortText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func commas[T fmt.Stringer](values []T) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = v.String()
	}
	return strings.Join(parts, ", ")
}
