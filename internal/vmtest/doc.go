// Package vmtest runs commands, mostly this module's test binaries, on a kernel
// that is not the host's: it boots the kernel of a Debian package in
// qemu-system-x86_64, with an initial RAM file system that holds the commands,
// the tools they call and kernel modules, and returns exit statuses, output and
// files.
//
// A Machine is data; Run packs it into an archive, starts qemu, and decodes what
// the program of package vmtest/guest, which is process 1 in there, sends over a
// serial line: one JSON Event a line. Kernels lie in a cache outside the tree,
// where scripts/kernel puts them. qemu emulates the processor in software, so
// neither KVM nor root is needed outside; inside everything is root's.
//
// There is no disk and no network to the outside; nothing outlives the machine
// but what an Event carried out. Time passes as outside, but everything is ten to
// twenty times slower: nothing measured inside says anything about speed.
//
// Tests call it, this package's own above all: they run the kernel-facing
// packages' tests on all supported kernels (make test-vm). The product does not.
package vmtest
