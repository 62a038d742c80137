// Command wgsteer encrypts the traffic between pods of different nodes with
// WireGuard in userspace: it runs the data plane as a daemon (run), talks to a
// running one (status, keys, check), and removes what it leaves in the kernel
// (teardown).
//
// It is a shell around package dataplane: it reads the configuration file,
// speaks to systemd, serves metrics and a control socket. Main calls run, and
// so do the tests, in-process; each verb has a file of its own.
//
// Exit codes: 0 it worked; 1 it failed, or what was asked about is not well;
// 2 the command line or the configuration is wrong, and nothing was done.
package main
