package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/wgsteer/wgsteer/steering"
	"github.com/wgsteer/wgsteer/tunnel/kernel"
)

func newExplainCommand(env *env) *cobra.Command {
	var file string
	var out output
	cmd := &cobra.Command{
		Use:   "explain SRC DST",
		Short: "Say what becomes of a packet from one address to another, and why",
		Long: `Say what becomes of a packet from address SRC to address DST at this node: whose
the addresses are, where the kernel routes it, which of the programs it meets and
what they decide, by which device it leaves, to which peer, at what MTU, what becomes
of a longer one, and which layers would keep it from leaving in plaintext.

It sends nothing. It reads what is in the kernel, so it also explains a data plane
whose daemon has died. What a CNI makes of the addresses on the way (Service
DNAT, masquerade) it cannot see: ask for the addresses that the packet leaves with.

The exit code is 1 when it cannot be told, whatever the answer otherwise.`,
		Example: `  wgsteer explain 10.244.1.5 10.244.2.7
  wgsteer explain 10.244.1.5 10.244.2.7 -o json | jq '{verdict, reason, device, mtu}'`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			source, destination, err := parseEnds(args[0], args[1])
			if err != nil {
				return err
			}
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			o := steering.Options{BPFFS: config.Plane.BPFFS, Name: config.Plane.Interface, Logger: slog.New(slog.DiscardHandler)}
			e, err := steering.Explain(o, source, destination)
			if err != nil {
				return fmt.Errorf("explain %s > %s: %w", source, destination, err)
			}
			if e.Device == config.Plane.Interface {
				e.Notes = append(e.Notes, deviceNotes(e.Device)...)
			}
			return out.print(env.Stdout, e, func(w io.Writer) error { return explainTable(w, e, env.colours()) })
		},
	}
	configFlag(cmd, &file)
	out.addFlag(cmd)
	return cmd
}

// deviceNotes says of a tunnel device what runs it, where that goes on without a
// daemon.
func deviceNotes(name string) []string {
	link, up, err := kernel.Find(name)
	if err != nil || !up || link.Index == 0 {
		return nil
	}
	return []string{name + " is a link of the kernel's WireGuard: it carries packets also while no daemon runs"}
}

// parseEnds reads the two addresses, which have to be of one family.
func parseEnds(from, to string) (source, destination netip.Addr, err error) {
	if source, err = parseEnd(from); err != nil {
		return source, destination, err
	}
	if destination, err = parseEnd(to); err != nil {
		return source, destination, err
	}
	if source.Is4() != destination.Is4() {
		err = usageError{fmt.Errorf("%s and %s: one is IPv4, the other IPv6; no packet has both", from, to)}
	}
	return source, destination, err
}

func parseEnd(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return addr, usageError{fmt.Errorf("%q: an IP address such as 10.244.1.5 or fd00:10:244:1::5 is needed", text)}
	}
	return addr.Unmap(), nil
}
