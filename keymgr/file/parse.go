package file

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/wgsteer/wgsteer/keymgr"
)

// finding is something wrong or odd in a record.
type finding struct {
	line    int // from 1; 0 where no line is to blame
	text    string
	warning bool
}

// message is what people see.
func (f finding) message() string {
	if f.line == 0 {
		return f.text
	}
	return fmt.Sprintf("line %d: %s", f.line, f.text)
}

// parse reads a record that has to be of the node called name. The node counts
// only if every finding is a warning.
func parse(name string, data []byte) (keymgr.Node, []finding) {
	d := decoder{name: name, seen: make(map[string]int)}
	body := d.open(data)
	if body == nil {
		return keymgr.Node{}, d.findings
	}
	for _, pair := range body.Values {
		d.field(pair)
	}
	d.checkWhole()
	return d.node, d.findings
}

// decoder walks a record's syntax tree, so that a finding knows its line and
// shows no more of the file than the value at fault.
type decoder struct {
	name     string // of the node, by the file's name
	node     keymgr.Node
	seen     map[string]int // field -> line
	findings []finding
}

func (d *decoder) fail(line int, format string, args ...any) {
	d.findings = append(d.findings, finding{line: line, text: fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(line int, format string, args ...any) {
	d.findings = append(d.findings, finding{line: line, text: fmt.Sprintf(format, args...), warning: true})
}

func (d *decoder) field(pair *ast.MappingValueNode) {
	line := lineOf(pair.Key)
	key, ok := pair.Key.(*ast.StringNode)
	if !ok {
		d.fail(line, "a field's name is plain text; keys of other kinds and merges are not used in records")
		return
	}
	d.seen[key.Value] = line
	switch key.Value {
	case "name":
		d.text(key.Value, pair.Value, func(s string) error {
			d.node.Name = s
			if err := keymgr.CheckName(s); err != nil {
				return err
			}
			if s != d.name {
				return fmt.Errorf("%s does not match the file's name; expected %s", keymgr.Quote(s), keymgr.Quote(d.name))
			}
			return nil
		})
	case "publicKey":
		d.text(key.Value, pair.Value, func(s string) (err error) {
			d.node.PublicKey, err = keymgr.ParsePublicKey(s)
			return err
		})
	case "endpoint":
		d.text(key.Value, pair.Value, func(s string) (err error) {
			if s != "" {
				d.node.Endpoint, err = keymgr.ParseEndpoint(s)
			}
			return err
		})
	case "nodeIPs":
		d.list(key.Value, pair.Value, d.nodeIP)
	case "podCIDRs":
		d.list(key.Value, pair.Value, d.podCIDR)
	case "persistentKeepalive":
		d.text(key.Value, pair.Value, func(s string) (err error) {
			d.node.PersistentKeepalive, err = keymgr.ParseKeepalive(s)
			return err
		})
	case "backend":
		// It is told, and nothing depends on it: what is no word is left out.
		if s, ok := pair.Value.(*ast.StringNode); ok && isFieldName(s.Value) {
			d.node.Backend = s.Value
		} else if _, empty := pair.Value.(*ast.NullNode); !empty {
			d.warn(line, "backend: is no word such as kernel, and ignored")
		}
	case "backendReason":
		if s, ok := pair.Value.(*ast.StringNode); ok && keymgr.IsReason(s.Value) {
			d.node.BackendReason = s.Value
		} else if _, empty := pair.Value.(*ast.NullNode); !empty {
			d.warn(line, "backendReason: is no text of one line, and ignored")
		}
	default:
		d.warn(line, "%s is ignored; a newer version may know it", unknown(key.Value))
	}
}

func unknown(field string) string {
	if isFieldName(field) {
		return "unknown field " + keymgr.Quote(field)
	}
	return "an unknown field"
}

// isFieldName reports whether s may be shown as a field's name: a link that
// leads to another kind of file must not show what is in there.
func isFieldName(s string) bool {
	return len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// text hands a scalar that is text to set; an empty value is an absent field.
func (d *decoder) text(field string, n ast.Node, set func(string) error) {
	switch n := n.(type) {
	case *ast.NullNode:
		delete(d.seen, field)
	case *ast.StringNode:
		if err := set(n.Value); err != nil {
			d.fail(lineOf(n), "%s: %v", field, err)
		}
	default:
		d.fail(lineOf(n), "%s: %s", field, notText(n))
	}
}

// notText says what to do about a value of the wrong kind.
func notText(n ast.Node) string {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return fmt.Sprintf("%s is a number or a truth value; put text into quotes", keymgr.Quote(n.GetToken().Value))
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return "is a list or a mapping; one text was expected"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "anchors, aliases and tags are not used in records; write the value out"
	default:
		return "is not one line of text"
	}
}

func (d *decoder) list(field string, n ast.Node, add func(string) error) {
	if _, ok := n.(*ast.NullNode); ok {
		return
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		if s, ok := n.(*ast.StringNode); ok {
			d.fail(lineOf(n), "%s: %s is not a list; put it into [ ]", field, keymgr.Quote(s.Value))
			return
		}
		d.fail(lineOf(n), "%s: is not a list such as [a, b]", field)
		return
	}
	for i, item := range list.Values {
		d.text(fmt.Sprintf("%s[%d]", field, i), item, add)
	}
}

func (d *decoder) nodeIP(s string) error {
	ip, err := keymgr.ParseNodeIP(s)
	if err != nil {
		return err
	}
	for _, other := range d.node.NodeIPs {
		if other == ip {
			return fmt.Errorf("%s occurs twice", keymgr.Quote(s))
		}
	}
	d.node.NodeIPs = append(d.node.NodeIPs, ip)
	return nil
}

func (d *decoder) podCIDR(s string) error {
	p, err := keymgr.ParsePodCIDR(s)
	if err != nil {
		return err
	}
	for _, other := range d.node.PodCIDRs {
		if other.Overlaps(p) {
			return fmt.Errorf("%s overlaps %s of the same record", keymgr.Quote(s), other)
		}
	}
	d.node.PodCIDRs = append(d.node.PodCIDRs, p)
	return nil
}

// checkWhole looks at what no single field shows.
func (d *decoder) checkWhole() {
	for _, field := range []string{"name", "publicKey"} {
		if d.seen[field] == 0 {
			d.fail(0, "%s: is missing", field)
		}
	}
	ip := d.node.Endpoint.Addr()
	for _, p := range d.node.PodCIDRs {
		if p.Contains(ip) {
			d.fail(d.seen["endpoint"], "endpoint: %s is within pod CIDR %s; the tunnel's own packets would be sent into it", d.node.Endpoint, p)
		}
	}
}
