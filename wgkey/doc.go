// Package wgkey holds WireGuard's keys as types: public keys that print as
// base64 and are comparable, and secret keys that cannot be printed, logged or
// marshalled by accident and compare in constant time.
//
// It is a leaf that every other room may import. It is not a key store
// (keymgr) and does no cryptography beyond deriving a public key.
package wgkey
