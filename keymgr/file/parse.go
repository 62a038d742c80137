package file

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/wgkey"
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
	d := decoder{name: name}
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

// open returns the mapping that the record is, nil with a finding if it is none.
func (d *decoder) open(data []byte) *ast.MappingNode {
	d.seen = make(map[string]int)
	switch {
	case len(data) > maxRecord:
		d.fail(0, "the record has more than %d bytes", maxRecord)
		return nil
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		d.fail(0, "the record is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if line := tooDeep(tokens); line > 0 {
		d.fail(line, "values are nested more than %d deep", maxDepth)
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		line, text := syntaxError(err)
		d.fail(line, "not YAML: %s", text)
		return nil
	}
	return d.mapping(file)
}

func (d *decoder) mapping(file *ast.File) *ast.MappingNode {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		d.fail(0, "the record is empty")
		return nil
	case len(bodies) > 1:
		d.fail(lineOf(bodies[1]), "a file holds one record; put the second one into a file of its own")
		return nil
	}
	switch body := bodies[0].(type) {
	case *ast.MappingNode:
		return body
	case *ast.MappingValueNode:
		return &ast.MappingNode{Values: []*ast.MappingValueNode{body}}
	case *ast.NullNode:
		d.fail(0, "the record is empty")
	default:
		d.fail(lineOf(body), "the record is not a list of fields such as `name: node-a`")
	}
	return nil
}

// maxDepth bounds nesting: a record of today has two levels, and the parser's
// work grows with the square of the depth.
const maxDepth = 16

// tooDeep returns the line at which flow collections, or list markers on one
// line, are nested too deep; 0 if they nowhere are. Block mappings need an
// indentation for each level, which the size of a record bounds.
func tooDeep(tokens token.Tokens) int {
	flow, markers, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, markers = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			markers++
		}
		if flow > maxDepth || markers > maxDepth {
			return line
		}
	}
	return 0
}

// syntaxError takes the message out of a parser's error, which would otherwise
// quote the file.
func syntaxError(err error) (line int, text string) {
	var positioned yaml.Error
	if !errors.As(err, &positioned) {
		return 0, "it cannot be parsed"
	}
	if t := positioned.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	// Some messages quote a key or a tag.
	text = regexp.MustCompile(`"(\\.|[^"\\])*"`).ReplaceAllStringFunc(positioned.GetMessage(), func(quoted string) string {
		if isFieldName(strings.Trim(quoted, `"`)) {
			return quoted
		}
		return `"..."`
	})
	return line, text
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
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
				return fmt.Errorf("%s does not match the file's name; expected %s", quote(s), quote(d.name))
			}
			return nil
		})
	case "publicKey":
		d.text(key.Value, pair.Value, func(s string) (err error) {
			d.node.PublicKey, err = parsePublicKey(s)
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
			d.node.PersistentKeepalive, err = parseKeepalive(s)
			return err
		})
	default:
		d.warn(line, "%s is ignored; a newer version may know it", unknown(key.Value))
	}
}

func unknown(field string) string {
	if isFieldName(field) {
		return "unknown field " + quote(field)
	}
	return "an unknown field"
}

// isFieldName reports whether s may be shown as a field's name: a link that
// leads to another kind of file must not show what is in there.
func isFieldName(s string) bool {
	return len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func parsePublicKey(s string) (wgkey.PublicKey, error) {
	if len(s) > 2*wgkey.Size {
		return wgkey.PublicKey{}, fmt.Errorf("%s is not a public key: expected the 44 characters that wg prints", quote(s))
	}
	return wgkey.ParsePublicKey(s)
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
		return fmt.Sprintf("%s is a number or a truth value; put text into quotes", quote(n.GetToken().Value))
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
			d.fail(lineOf(n), "%s: %s is not a list; put it into [ ]", field, quote(s.Value))
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
			return fmt.Errorf("%s occurs twice", quote(s))
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
			return fmt.Errorf("%s overlaps %s of the same record", quote(s), other)
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
