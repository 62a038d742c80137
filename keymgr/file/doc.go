// Package file is the keymgr.Source that reads a directory of node records:
// one YAML file a node, NAME.yaml, watched for changes. Something else, such
// as a shared file system or a configuration management, carries the files
// between the nodes.
//
//	name: node-a
//	publicKey: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
//	endpoint: 192.0.2.1:51871    # optional: without it the node speaks first
//	nodeIPs: [192.0.2.1]
//	podCIDRs: [10.244.1.0/24]
//	persistentKeepalive: 25s     # optional
//
// It writes one file, this node's own, and never touches another. It does not
// decide between records that contradict each other: that is keymgr.Resolve.
// It is made by cmd/wgsteer, or by whoever embeds dataplane, which runs it.
package file
