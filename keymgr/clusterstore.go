package keymgr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/wgsteer/wgsteer/keymgr/internal/durable"
)

const (
	clusterFile = "cluster.json"
	clusterKind = "cluster"
)

// Cluster is what was found out of the cluster by itself, where no configuration
// says it.
type Cluster struct {
	// CIDRs hold the pods of all nodes.
	CIDRs []netip.Prefix `json:"clusterCIDRs"`
	// From says where they were found, for people.
	From string `json:"from"`
}

// LoadCluster returns what SaveCluster last wrote, or the zero value where there is
// nothing. A damaged file counts as nothing, and is moved to setAside, which is ""
// otherwise.
func (s *Store) LoadCluster() (cluster Cluster, setAside string, err error) {
	return loadOrSetAside(s, clusterFile, stateDir.loadCluster)
}

// PeekCluster is LoadCluster for a look: a damaged file is an error, and left for
// LoadCluster to set aside.
func (s *Store) PeekCluster() (Cluster, error) { return peek(s, stateDir.loadCluster) }

func (d stateDir) loadCluster() (Cluster, error) {
	return readSealed[Cluster](d, clusterFile, clusterKind)
}

// SaveCluster remembers what was found; the same again is not written. On error
// what was remembered before still is.
func (s *Store) SaveCluster(c Cluster) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("remember the cluster's prefixes: %w", err)
	}
	return s.replace(clusterFile, seal(clusterKind, append(text, '\n')))
}

// replace writes a file of the state directory unless it is the same already.
func (s *Store) replace(name string, data []byte) error {
	d, err := createStateDir(s.dir)
	if err != nil {
		return err
	}
	defer d.close()
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if old, err := d.read(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return durable.Replace(d.root, name, data, 0o600, nil)
}
