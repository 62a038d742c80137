package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wgsteer/wgsteer/dataplane"
)

// knownFields is a configuration file as it may be shown: the fields that wgsteer
// knows and what they hold, without comments; of the others their lines alone.
func knownFields(path string, text []byte, hostname string) string {
	doc, root := parseDocument(path, text)
	new(configuration).readFields(root)
	var b strings.Builder
	root.writeKnown(&b, doc, "")
	if len(root.order) == 0 {
		b.WriteString("# no fields\n")
	}
	if _, err := parseConfig(path, text, nodeNames{host: hostname}); err != nil {
		fmt.Fprintf(&b, "# it is wrong:\n# %s\n", strings.ReplaceAll(valueless(err), "\n", "\n# "))
	}
	return b.String()
}

func (s *section) writeKnown(b *strings.Builder, doc *document, indent string) {
	for _, name := range s.order {
		field := s.fields[name]
		if !doc.known[s.prefix+name] {
			fmt.Fprintf(b, "%s# line %d: an unknown field, not shown\n", indent, lineOf(field.key))
			continue
		}
		if m, ok := field.value.(ast.MapNode); ok {
			sub := &section{doc: doc, prefix: s.prefix + name + "."}
			sub.fill(m)
			fmt.Fprintf(b, "%s%s:\n", indent, name)
			sub.writeKnown(b, doc, indent+"  ")
			continue
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, knownValue(field.value))
	}
}

// knownValue is a scalar or a list of them; fields hold nothing else.
func knownValue(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.String()
	case *ast.SequenceNode:
		var items []string
		for _, item := range n.Values {
			items = append(items, knownValue(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *ast.NullNode, nil:
		return ""
	}
	return "# " + describe(n) + ", not shown"
}

// unknownValues are what the fields of a file hold that wgsteer does not know, as they
// are and as errors repeat them.
func unknownValues(path string, text []byte, hostname string) []string {
	doc, root := parseDocument(path, text)
	new(configuration).readFields(root)
	collected := &scalars{}
	root.collectUnknown(doc, collected)
	_, err := parseConfig(path, text, nodeNames{host: hostname})
	for _, e := range configErrors(err) {
		if strings.HasPrefix(e.Problem, unknownField) {
			collected.texts = append(collected.texts, e.Value)
		}
	}
	return collected.texts
}

func (s *section) collectUnknown(doc *document, into *scalars) {
	for _, name := range s.order {
		value := s.fields[name].value
		if !doc.known[s.prefix+name] {
			ast.Walk(into, value)
			into.texts = append(into.texts, show(value))
		} else if m, ok := value.(ast.MapNode); ok {
			sub := &section{doc: doc, prefix: s.prefix + name + "."}
			sub.fill(m)
			sub.collectUnknown(doc, into)
		}
	}
}

// scalars are the texts of a tree.
type scalars struct{ texts []string }

// Visit implements ast.Visitor.
func (s *scalars) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.StringNode:
		s.texts = append(s.texts, n.Value)
	case *ast.LiteralNode:
		s.texts = append(s.texts, strings.Split(n.Value.Value, "\n")...)
	}
	return s
}

// understood is the configuration as it was read, with the defaults: field by field, so
// that one that is new is shown only where somebody says so here.
func (c configuration) understood() ([]byte, error) {
	p := c.Plane
	fields := []struct {
		Field string `json:"field"`
		Value any    `json:"value"`
	}{
		{"node", p.Node}, {"interface", p.Interface}, {"listenPort", p.ListenPort},
		{"persistentKeepalive", p.PersistentKeepalive.String()}, {"mtu", p.MTU},
		{"clusterCIDRs", p.ClusterCIDRs}, {"podCIDRs", p.PodCIDRs}, {"nodeIPs", p.NodeIPs}, {"nodeCIDRs", p.NodeCIDRs},
		{"endpoint", p.Endpoint}, {"policy", cmp.Or(p.Policy, dataplane.Strict)}, {"backend", cmp.Or(p.Backend, dataplane.Userspace)},
		{"devices", p.Devices}, {"podDevices", p.PodDevices}, {"encapsulationPorts", p.EncapsulationPorts},
		{"stateDir", p.StateDir}, {"runDir", c.RunDir}, {"bpffs", p.BPFFS}, {"source.directory", c.Directory}, {"source.kubernetes", c.Kubernetes},
		{"metrics", c.Metrics}, {"log.level", c.Log.Level.String()}, {"log.json", c.Log.JSON},
	}
	return json.MarshalIndent(fields, "", "  ")
}
