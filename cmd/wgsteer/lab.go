package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// newLabCommand makes the lab verbs. Their nodes run this very binary.
func newLabCommand(env *env) *cobra.Command {
	return lab{env: env, executable: os.Executable}.command()
}

// lab is what the lab verbs share; the shape's name is set by their flag.
type lab struct {
	env        *env
	executable func() (string, error) // the daemons' binary
	// adjust changes the configuration of each daemon before it is written;
	// tests break labs with it. Nil changes nothing.
	adjust func(*labDaemon)
}

func (l lab) command() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Nodes and pods in network namespaces of this machine: prove it here, try it out",
		Long: `A lab is a small cluster on this machine: nodes and pods are network namespaces,
a bridge is the network between the nodes, and each node runs this very binary
as its daemon. It needs root and touches nothing outside its own namespaces but
its directories /run/wgsteer-lab and /sys/fs/bpf/wgsteer-lab-NAME, sockets in
/var/run/wireguard, and for a moment a WireGuard link, to see whether the kernel can.`,
		Example: `  wgsteer lab run                                     # start, prove, stop
  wgsteer lab up                                      # one that stays
  wgsteer lab exec node-a/pod-1 -- ping -c 3 10.244.2.2
  wgsteer lab down`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&name, "name", defaultLabName, "the lab's name; labs of different names live side by side")
	cmd.AddCommand(l.runCommand(&name), l.upCommand(&name), l.statusCommand(&name), l.execCommand(&name), l.downCommand(&name), l.reapCommand())
	return cmd
}

func (l lab) runCommand(name *string) *cobra.Command {
	var shape labShape
	var keep bool
	var out output
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start a lab, prove that its pods talk through WireGuard alone, stop it",
		Long: `Run starts nodes and pods, lets every pair of nodes' pods talk while the wire
between the nodes is captured, and stops all of it. It does so twice: first
without wgsteer, a control that has to see plaintext; then with it, when every
flow has to work with nothing but WireGuard on the wire.

--cni chooses how pods are networked without wgsteer, as different CNIs do it:
  bridge         pods on a bridge; a route to each other node's pods by its address
  routes         a veth and a route for each pod, no bridge; between nodes the same
  vxlan          pods on a bridge; other nodes' pods through a vxlan device
  ipip           a route for each pod; other nodes' pods through ipip (IPv4) and sit
                 (IPv6) devices, which the kernel has to have
  default-route  pods on a bridge; no route to other nodes' pods but the default
                 one, whose gateway knows them
  plugin-bridge, plugin-ptp
                 pods connected by the plugins bridge and ptp of Debian's package
                 containernetworking-plugins; between nodes as bridge
  plugin-bridge-masq, plugin-ptp-masq
                 the same with ipMasq: other nodes see a pod by its node's address

--mtu is the MTU of the network between the nodes. Pods get the MTU that their
network leaves of it, as a CNI sets it that knows of no tunnel.

--backend says what runs the tunnels: wireguard-go (userspace), the kernel's
WireGuard (kernel), or auto. Of several the nodes take one after the other.`,
		Example: `  wgsteer lab run
  wgsteer lab run --cni vxlan --mtu 9000
  wgsteer lab run --nodes 5 --family 6 -o json
  wgsteer lab run --backend userspace,kernel
  wgsteer lab run --keep                 # and look around in it afterwards`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shape.name = *name
			if err := shape.validate(); err != nil {
				return usageError{err}
			}
			return l.interruptible(cmd.Context(), func(ctx context.Context) error {
				return l.run(ctx, shape, keep, &out)
			})
		},
	}
	shape.addFlags(cmd)
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the lab running afterwards, whether it worked or not")
	out.addFlag(cmd)
	return cmd
}

func (l lab) upCommand(name *string) *cobra.Command {
	var shape labShape
	var out output
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Start a lab that stays, and say how to use it",
		Example: "  wgsteer lab up --nodes 2 --pods 1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shape.name = *name
			if err := shape.validate(); err != nil {
				return usageError{err}
			}
			return l.interruptible(cmd.Context(), func(ctx context.Context) error {
				return l.up(ctx, shape, &out)
			})
		},
	}
	shape.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func (l lab) statusCommand(name *string) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say what a lab consists of and how to use it",
		Example: "  wgsteer lab status -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.status(cmd.Context(), *name, &out) },
	}
	out.addFlag(cmd)
	return cmd
}

func (l lab) execCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "exec NODE|NODE/POD -- COMMAND [ARGUMENT...]",
		Short: "Run a command in the network namespace of a node or a pod",
		Long: `Exec runs a command in the network namespace of a node or a pod; everything else,
files and processes, is this machine's. Its exit status is the command's. In place
of a node, "gateway" is the underlay's gateway: the world outside the cluster.`,
		Example: `  wgsteer lab exec node-a -- ip route
  wgsteer lab exec node-a/pod-1 -- ping -c 3 10.244.2.2`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return errors.New("a node or a pod, --, and a command are needed")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return l.exec(*name, args[0], args[1:], os.Environ()) },
	}
}

func (l lab) downCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "End a lab and remove what is left of it",
		Example: "  wgsteer lab down",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.down(cmd.Context(), *name) },
	}
}

// reapVerb removes a lab when the wgsteer that owns it has died.
const reapVerb = "reap"

func (l lab) reapCommand() *cobra.Command {
	return &cobra.Command{
		Use:     reapVerb + " NAME",
		Short:   "Wait for the end of standard input, then remove a lab",
		Example: "  wgsteer lab reap demo < PIPE",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return netlab.Reap(args[0], l.env.Stdin) },
	}
}

// interruptible runs do until it returns. The first signal ends its context, and
// it cleans up; a second one ends this process, and the reaper cleans up.
func (l lab) interruptible(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals, stop := l.env.Signals(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	finished, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		defer stop()
		select {
		case s := <-signals:
			cancel(fmt.Errorf("ended by a signal (%s)", s))
		case <-finished:
		}
	}()
	err := do(ctx)
	close(finished)
	<-watched
	return err
}
