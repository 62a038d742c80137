package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
)

func newKeysCommand(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Show or rotate this node's key",
		Example: "  wgsteer keys show\n  wgsteer keys rotate",
	}
	cmd.AddCommand(newKeysShowCommand(env), newKeysRotateCommand(env))
	return cmd
}

// privateKeyFile is the name in the state directory; see keymgr.Store.
const privateKeyFile = "private.key"

// shownKey is what `keys show` prints. The private key is not shown anywhere.
type shownKey struct {
	Node      string          `json:"node"`
	PublicKey wgkey.PublicKey `json:"publicKey"`
	File      string          `json:"file"` // of the private key
}

func newKeysShowCommand(env *env) *cobra.Command {
	var file string
	var out output
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show this node's public key, and where the private one is kept",
		Example: "  wgsteer keys show -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			config, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			key, err := keymgr.NewStore(config.Plane.StateDir).Load()
			if err != nil {
				return err
			}
			shown := shownKey{config.Plane.Node, key.Public(), filepath.Join(config.Plane.StateDir, privateKeyFile)}
			return out.print(env.Stdout, shown, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "node         %s\npublic key   %s\nprivate key  in %s\n", shown.Node, shown.PublicKey, shown.File)
				return err
			})
		},
	}
	configFlag(cmd, &file)
	out.addFlag(cmd)
	return cmd
}
