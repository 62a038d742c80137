package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

const (
	// labReadyWithin bounds the way from the start of the daemons to sessions
	// between all of them; alone on a machine it takes one or two seconds.
	labReadyWithin = 60 * time.Second
	// labStopWithin is how long a daemon may take to stop when asked to.
	labStopWithin = 10 * time.Second
	// labPoll is how often a daemon is asked whether it is ready.
	labPoll = 50 * time.Millisecond
)

// labNodes runs the daemons of a lab that is up.
type labNodes struct {
	lab
	net *netlab.Lab
	// backends of the daemons, in turn.
	backends []string
	// started are the daemons that this process started, by node; those of a
	// lab found by name are not in it.
	started map[string]*labProcess
}

// start starts a daemon on each node; they outlive this process.
func (n *labNodes) start() error {
	binary, err := n.executable()
	if err != nil {
		return fmt.Errorf("find this very binary: %w", err)
	}
	n.started = map[string]*labProcess{}
	for i, node := range n.net.Nodes {
		d := labDaemonOf(n.net, node, n.backends[i%len(n.backends)])
		if n.adjust != nil {
			n.adjust(&d)
		}
		text, err := d.text()
		if err != nil {
			return err
		}
		config := labConfigFile(n.net, node)
		if err := os.WriteFile(config, text, 0o600); err != nil {
			return fmt.Errorf("write the configuration of %s: %w", node.Name, err)
		}
		log, err := os.OpenFile(labLogFile(n.net, node), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("open the log of %s: %w", node.Name, err)
		}
		// Without a deadline: the daemon must not end with this context.
		cmd := node.Command(context.Background(), binary, "run", "--config", config)
		cmd.Stdout, cmd.Stderr = log, log
		n.started[node.Name], err = startLabProcess(cmd.Cmd, cmd.Start)
		log.Close()
		if err != nil {
			return fmt.Errorf("start the daemon of %s: %w", node.Name, err)
		}
	}
	return nil
}

// await waits until each daemon is ready and has a session with every other.
// It returns the nodes as their daemons describe them.
func (n *labNodes) await(ctx context.Context, counter *labCounter) ([]labNode, error) {
	late, cancel := context.WithTimeout(ctx, labReadyWithin)
	defer cancel()
	poll := time.NewTicker(labPoll)
	defer poll.Stop()
	for {
		// All are asked each time: one that has ended keeps the others waiting.
		var nodes []labNode
		var waiting []string
		for _, node := range n.net.Nodes {
			reply, missing, err := n.ask(ctx, node)
			if err != nil {
				return nil, err
			}
			if missing != "" {
				waiting = append(waiting, fmt.Sprintf("on %s %s", node.Name, missing))
				continue
			}
			nodes = append(nodes, labNode{node.Name, string(reply.Backend), reply.PublicKey, reply.Interface})
		}
		counter.set(len(nodes), len(n.net.Nodes))
		if len(waiting) == 0 {
			return nodes, nil
		}
		select {
		case <-poll.C:
		case <-late.Done():
			return nil, fmt.Errorf("the daemons are not ready within %v: %s", labReadyWithin, strings.Join(waiting, "; "))
		}
	}
}

// ask looks how far the daemon of a node is; missing says what is to come. It
// is an error if the daemon has ended.
func (n *labNodes) ask(ctx context.Context, node *netlab.Node) (reply statusReply, missing string, err error) {
	if p := n.started[node.Name]; p != nil {
		if ended, err := p.ended(0); err != nil || ended {
			return reply, "", errors.Join(fmt.Errorf("the daemon of %s has ended; it said: %s", node.Name, lastLine(labLogFile(n.net, node))), err)
		}
	}
	client, err := n.client(node)
	if err != nil {
		return reply, "", err
	}
	reply, err = client.status(ctx)
	if err != nil {
		return reply, err.Error(), nil
	}
	return reply, labMissing(reply.Status, len(n.net.Nodes)-1), nil
}

// labMissing says what a data plane lacks to talk with that many peers, "" when
// it lacks nothing.
func labMissing(s dataplane.Status, peers int) string {
	if s.State != dataplane.Ready {
		return strings.Join(append([]string{"the state is " + string(s.State)}, s.Reasons...), ": ")
	}
	if len(s.Peers) != peers {
		return fmt.Sprintf("%d of %s are known", len(s.Peers), count(peers, "peer"))
	}
	for _, p := range s.Peers {
		if p.LastHandshake.IsZero() {
			return "there is no session with " + p.Name
		}
	}
	return ""
}

// client talks to the daemon of a node. The error is an fs.ErrNotExist where
// there never was one.
func (n *labNodes) client(node *netlab.Node) (*controlClient, error) {
	file := labConfigFile(n.net, node)
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	config, err := loadConfig(n.env, file)
	if err != nil {
		return nil, err
	}
	return newControlClient(config), nil
}
