// Package interop tests the tunnel of tunnel/userspace against implementations
// that are not ours: stock wireguard-go as a process of its own, the kernel's
// module, wg(8), wgctrl, and the dissector of tshark. docs/interop.md lists what
// is shown against which.
//
// The cases of the tunnel are one table; the implementation at the other end is
// its parameter (other_test.go). A kernel without WireGuard leaves its column
// out; internal/vmtest runs it on kernels that have it. Every network is a pair
// of namespaces of the test's own.
//
// It has no code of its own; nobody imports it.
package interop
