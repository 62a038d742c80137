package file

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/wgsteer/wgsteer/keymgr"
)

// maxRecord is the greatest size of a record in bytes: room for some 3000 pod
// CIDRs.
const maxRecord = 64 << 10

// document is a record as YAML has it. Its fields are those that decoder.field
// knows.
type document struct {
	Name                string   `yaml:"name"`
	PublicKey           string   `yaml:"publicKey"`
	Endpoint            string   `yaml:"endpoint,omitempty"`
	NodeIPs             []string `yaml:"nodeIPs,omitempty"`
	PodCIDRs            []string `yaml:"podCIDRs,omitempty"`
	PersistentKeepalive string   `yaml:"persistentKeepalive,omitempty"`
	Backend             string   `yaml:"backend,omitempty"`
	BackendReason       string   `yaml:"backendReason,omitempty"`
}

// render returns the record of n, and an error if no node could read it back.
func render(n keymgr.Node) ([]byte, error) {
	doc := document{Name: n.Name, PublicKey: n.PublicKey.String(), Backend: n.Backend, BackendReason: n.BackendReason}
	if n.Endpoint.IsValid() {
		doc.Endpoint = n.Endpoint.String()
	}
	for _, ip := range n.NodeIPs {
		doc.NodeIPs = append(doc.NodeIPs, ip.String())
	}
	for _, p := range n.PodCIDRs {
		doc.PodCIDRs = append(doc.PodCIDRs, p.String())
	}
	if n.PersistentKeepalive != 0 {
		doc.PersistentKeepalive = n.PersistentKeepalive.String()
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return nil, err
	}
	data := append([]byte("# Written by wgsteer on this node, which overwrites what is changed here.\n"), text...)
	back, findings := parse(n.Name, data)
	if len(findings) > 0 {
		return nil, errors.New(findings[0].text)
	}
	if !back.Equal(n) {
		return nil, fmt.Errorf("the record would read as %+v, not as %+v", back, n)
	}
	return data, nil
}
