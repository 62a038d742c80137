package file

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// open returns the mapping that the record is, nil with a finding if it is none.
func (d *decoder) open(data []byte) *ast.MappingNode {
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
