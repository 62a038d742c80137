package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/wgsteer/wgsteer/internal/netlab"
)

// labStatus says what a lab consists of; it is what `lab up` and `lab status`
// print, and `lab run --keep` beside its report.
type labStatus struct {
	Name  string          `json:"name"`
	Nodes []labNodeStatus `json:"nodes"`
	Pods  []labPodStatus  `json:"pods"`
}

type labNodeStatus struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	Interface string       `json:"interface"`
	Namespace string       `json:"namespace"` // as ip-netns(8) names it
	Config    string       `json:"config"`
	Log       string       `json:"log"`
	// Daemon is the state of the daemon, or why there is none to tell.
	Daemon string `json:"daemon"`
}

type labPodStatus struct {
	Name      string       `json:"name"` // node/pod
	Addresses []netip.Addr `json:"addresses"`
	Namespace string       `json:"namespace"`
}

// status describes the lab and asks its daemons.
func (n *labNodes) status(ctx context.Context) labStatus {
	s := labStatus{Name: n.net.Run}
	for _, node := range n.net.Nodes {
		s.Nodes = append(s.Nodes, labNodeStatus{
			Name: node.Name, Addresses: node.IPs, Interface: node.Interface, Namespace: node.Path,
			Config: labConfigFile(n.net, node), Log: labLogFile(n.net, node), Daemon: n.daemonState(ctx, node),
		})
		for _, pod := range node.Pods {
			s.Pods = append(s.Pods, labPodStatus{pod.FullName(), pod.IPs, pod.Path})
		}
	}
	return s
}

// daemonState is in a word or two; `wgsteer status` on the node says more.
func (n *labNodes) daemonState(ctx context.Context, node *netlab.Node) string {
	client, err := n.client(node)
	if errors.Is(err, fs.ErrNotExist) {
		return "not started yet"
	}
	if err != nil {
		return "configuration is broken"
	}
	reply, err := client.status(ctx)
	if errors.Is(err, errNoDaemon) {
		return "ended"
	}
	if err != nil {
		return "no answer"
	}
	return string(reply.State)
}

// table writes the status for people, and how to go on from there.
func (s labStatus) table(w io.Writer, colour bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is up\n\n", paint(colour, bold, "Lab "+s.Name))
	rows := [][]string{{"NODE", "DAEMON", "INTERFACE", "ADDRESSES"}}
	for _, n := range s.Nodes {
		rows = append(rows, []string{n.Name, n.Daemon, n.Interface, commas(n.Addresses)})
	}
	columns(&b, rows, len(rows[0]))
	rows = [][]string{{"POD", "ADDRESSES"}}
	for _, p := range s.Pods {
		rows = append(rows, []string{p.Name, commas(p.Addresses)})
	}
	columns(&b, rows, len(rows[0]))
	s.hints(&b, colour)
	_, err := io.WriteString(w, b.String())
	return err
}

// hints say how to look around in a lab, and how to end it.
func (s labStatus) hints(b *strings.Builder, colour bool) {
	node, from, to := s.Nodes[0], s.Pods[0], s.Pods[len(s.Pods)-1]
	lab := func(verb string) string { return labLine(verb, s.Name) }
	fmt.Fprintf(b, "%s\n\n", paint(colour, bold, "Look around"))
	for _, hint := range []string{
		fmt.Sprintf("%s %s -- ping %s", lab("exec"), from.Name, to.Addresses[0]),
		fmt.Sprintf("%s %s -- ip route", lab("exec"), node.Name),
		"wgsteer status --config " + node.Config,
		"wg show " + node.Interface,
		"tail -f " + node.Log,
	} {
		fmt.Fprintf(b, "  %s\n", hint)
	}
	fmt.Fprintf(b, "\n%s\n\n  %s\n\n", paint(colour, bold, "End it"), lab("down"))
}

// labLine is the command line of a lab verb, as far as the lab's name.
func labLine(verb, name string) string {
	if name == defaultLabName {
		return "wgsteer lab " + verb
	}
	return "wgsteer lab " + verb + " --name " + name
}
