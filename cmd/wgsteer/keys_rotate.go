package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
)

// rotated is what `keys rotate` prints.
type rotated struct {
	rotateReply
	// Running is false where no daemon runs: there was nothing to interrupt.
	Running bool `json:"running"`
	// Republished says that this node's record has the new key. A running
	// daemon does that always; without one, only a record that is there is.
	Republished bool `json:"republished"`
}

func newKeysRotateCommand(env *env) *cobra.Command {
	var file string
	var wait time.Duration
	var out output
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace this node's key by a new one",
		Long: `Replace this node's key by a new one and publish it in this node's record. With
the daemon running, traffic with each peer is interrupted until that peer has
read the new record and shaken hands again; how long that took is measured and
printed. (Rotation without a loss is not in this version.)

The old key is gone afterwards. The exit code is 1 when a peer that had a
session has not come back within --wait; the new key stays in force.`,
		Example: "  wgsteer keys rotate --wait 30s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait <= 0 || wait > maxWait {
				return usageError{fmt.Errorf("--wait %s: a duration up to %s is needed", wait, maxWait)}
			}
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			done := env.waiting("waiting for the peers to take up the new key")
			result, err := rotate(cmd.Context(), config, wait)
			done()
			if err != nil {
				return err
			}
			if err := out.print(env.Stdout, result, func(w io.Writer) error { return result.table(w, wait) }); err != nil {
				return err
			}
			if result.Error != "" {
				return errors.New(result.Error)
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for the peers")
	out.addFlag(cmd)
	return cmd
}

func rotate(ctx context.Context, config configuration, wait time.Duration) (rotated, error) {
	reply, err := newControlClient(config).rotate(ctx, wait)
	if err == nil {
		return rotated{reply, true, true}, nil
	}
	if !errors.Is(err, errNoDaemon) {
		return rotated{}, err
	}
	return rotateOffline(ctx, config)
}

// rotateOffline holds the lock meanwhile, so that no daemon starts with the
// key that is on its way out.
func rotateOffline(ctx context.Context, config configuration) (result rotated, err error) {
	lock, err := takeLock(config)
	if err != nil {
		return rotated{}, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	// A record in Kubernetes is the daemon's to write: what comes between its start and
	// the key's publication shows in its status, not here.
	source := keymgr.Source(unread{})
	var self keymgr.Node
	var published bool
	if config.Kubernetes == nil {
		if source, err = config.source(slog.New(slog.DiscardHandler)); err != nil {
			return rotated{}, err
		}
		if self, published, err = ownRecord(ctx, source, config.Plane.Node); err != nil {
			return rotated{}, err
		}
	}
	old, next, err := keymgr.NewStore(config.Plane.StateDir).Rotate(rand.Reader)
	if err != nil {
		return rotated{}, err
	}
	result.Rotation = dataplane.Rotation{OldPublicKey: old.Public(), NewPublicKey: next.Public()}
	if !published {
		return result, nil
	}
	self.PublicKey = next.Public()
	if err := source.Publish(ctx, self); err != nil {
		return result, fmt.Errorf("the key is new, but this node's record still has the old one (the daemon writes it when it starts): %w", err)
	}
	result.Republished = true
	return result, nil
}

// ownRecord reads a node's record from a source; found is false where it has
// none.
func ownRecord(ctx context.Context, source keymgr.Source, node string) (self keymgr.Node, found bool, err error) {
	snapshot, err := firstSnapshot(ctx, source)
	if err != nil {
		return keymgr.Node{}, false, err
	}
	i := slices.IndexFunc(snapshot.Nodes, func(n keymgr.Node) bool { return n.Name == node })
	if i < 0 {
		return keymgr.Node{}, false, nil
	}
	return snapshot.Nodes[i], true, nil
}

// firstSnapshot is what a source knows now.
func firstSnapshot(ctx context.Context, source keymgr.Source) (first keymgr.Snapshot, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := false
	err = source.Run(ctx, func(s keymgr.Snapshot) {
		if !got {
			first, got = s, true
			cancel()
		}
	})
	if err != nil {
		return keymgr.Snapshot{}, fmt.Errorf("read the node records: %w", err)
	}
	return first, nil
}

// table is what was done; wait is how long the peers were waited for.
func (r rotated) table(w io.Writer, wait time.Duration) error {
	text := fmt.Sprintf("old public key  %s\nnew public key  %s\n", r.OldPublicKey, r.NewPublicKey)
	switch {
	case r.Running:
		text += fmt.Sprintf("peers           %d of %d that had a session have one with the new key\ninterruption    %s\n",
			r.PeersAfter, r.PeersBefore, r.interruption(wait))
	case r.Republished:
		text += "no daemon runs; this node's record has the new key, the daemon will start with it\n"
	default:
		text += "no daemon runs; the one that starts next publishes the new key\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// interruption is how long traffic rested. What was measured covers only the
// peers that are back.
func (r rotated) interruption(wait time.Duration) string {
	switch {
	case r.PeersAfter < r.PeersBefore:
		return fmt.Sprintf("not over after %s", wait)
	case r.PeersBefore == 0:
		return "none: no peer had a session"
	}
	return fmt.Sprintf("%s, until the last of them had shaken hands again", r.Interruption.Round(time.Millisecond))
}
