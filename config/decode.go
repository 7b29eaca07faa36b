package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// field is one key of a mapping. Exactly one of text, list, keys, named, items and custom is set.
type field struct {
	name   string
	secret bool // or could be: the value is never repeated in an error
	// text reads a scalar, list a list of scalars, item one of them before. What text and item return is
	// appended to the value as the file has it: what came from ${VAR} may be a secret.
	text func(v string) error
	list func(vs []string) error
	item func(v string) error
	keys []field // a mapping with these keys
	// named is a mapping with free keys, items a list of mappings: the keys of each of them.
	named func(e entry) []field
	items func(e entry) []field
	// custom reads what has several shapes. An override can give it a scalar.
	custom func(e entry)
}

// entry is a value at its place.
type entry struct {
	d    *decoder
	node *yaml.Node
	path string
	name string // the last part of path; free keys only
}

// fail records an error at the entry.
func (e entry) fail(format string, args ...any) { e.d.failAt(e.node, e.path, format, args...) }

// decoder walks a tree of YAML nodes and collects every error on the way.
type decoder struct {
	source  string
	lookup  func(string) (string, bool)
	origins map[*yaml.Node]string // of nodes that no file holds: the variable or flag
	// places are the values read, by path, for errors found later.
	places   map[string]*yaml.Node
	expanded map[string]bool // the variables that the file names
	errs     Errors
	decoded  int // how many of errs come from the decoding, before the checks across keys
	warnings []string
}

func (d *decoder) failAt(n *yaml.Node, path, format string, args ...any) {
	e := &Error{Source: d.source, Line: n.Line, Key: path, What: fmt.Sprintf(format, args...)}
	if origin, ok := d.origins[n]; ok {
		e.Source, e.Line = origin, 0
	}
	d.errs = append(d.errs, e)
}

// failKeys records an error that concerns several values, at the first of paths that was given. The
// mapping that holds paths[0] may be the last. A value that could not even be read has its error already.
func (d *decoder) failKeys(paths []string, format string, args ...any) {
	e := &Error{Source: d.source, Key: paths[0], What: fmt.Sprintf(format, args...)}
	found := false
	for _, p := range paths {
		above := strings.HasPrefix(paths[0], p+".")
		if !above && d.unread(p) {
			return
		}
		n, ok := d.places[p]
		if !ok || found {
			continue
		}
		found = true
		e.Line = n.Line
		if origin, ok := d.origins[n]; ok {
			e.Source, e.Line = origin, 0
		}
		if !above {
			e.Key = p
		}
	}
	d.errs = append(d.errs, e)
}

// unread reports whether the decoding left an error at path or below it.
func (d *decoder) unread(path string) bool {
	return slices.ContainsFunc(d.errs[:d.decoded], func(e *Error) bool {
		return e.Key == path || strings.HasPrefix(e.Key, path+".")
	})
}

// given reports whether the configuration has a value at path.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

func (d *decoder) mapping(n *yaml.Node, path string, fields []field) {
	if !d.isKind(n, path, yaml.MappingNode) {
		return
	}
	d.pairs(n, path, func(key string, keyNode, value *yaml.Node) {
		for i := range fields {
			if fields[i].name == key {
				d.field(value, join(path, key), &fields[i])
				return
			}
		}
		names := make([]string, len(fields))
		for i := range fields {
			names[i] = fields[i].name
		}
		hint := didYouMean(key, names)
		if hint == "" {
			hint = "; allowed are " + strings.Join(names, ", ")
		}
		d.failAt(keyNode, join(path, clip(key)), "unknown key%s", hint)
	})
}

// pairs calls fn for each key and value of a mapping, reporting keys that are not plain or not unique.
func (d *decoder) pairs(n *yaml.Node, path string, fn func(key string, keyNode, value *yaml.Node)) {
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			d.failAt(k, path, "a key must be plain text; anchors, merges and nested keys are not supported")
			continue
		}
		if line, ok := lines[k.Value]; ok {
			d.failAt(k, join(path, clip(k.Value)), "duplicate key; it is already on line %d", line)
			continue
		}
		lines[k.Value] = k.Line
		if _, override := d.origins[v]; !override && v.Kind != yaml.ScalarNode {
			v.Line = k.Line // a block has its first entry's line, which may be another's
		}
		fn(k.Value, k, v)
	}
}

func (d *decoder) field(n *yaml.Node, path string, f *field) {
	e := entry{d: d, node: n, path: path, name: f.name}
	d.places[path] = n
	switch {
	case f.custom != nil:
		f.custom(e)
	case f.keys != nil:
		d.mapping(n, path, f.keys)
	case f.named != nil:
		d.named(n, path, f.named)
	case f.items != nil:
		if !d.isKind(n, path, yaml.SequenceNode) {
			return
		}
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.places[at] = item
			d.mapping(item, at, f.items(entry{d: d, node: item, path: at}))
		}
	case f.list != nil:
		d.list(n, path, f)
	default:
		if s, ok := d.scalar(n, path); ok {
			d.check(n, path, f.secret, f.text(s))
		}
	}
}

func (d *decoder) named(n *yaml.Node, path string, fields func(e entry) []field) {
	if !d.isKind(n, path, yaml.MappingNode) {
		return
	}
	d.pairs(n, path, func(key string, keyNode, value *yaml.Node) {
		at := join(path, key)
		d.places[at] = keyNode
		d.mapping(value, at, fields(entry{d: d, node: keyNode, path: at, name: key}))
	})
}

func (d *decoder) list(n *yaml.Node, path string, f *field) {
	if !d.isKind(n, path, yaml.SequenceNode) {
		return
	}
	values, bad := make([]string, 0, len(n.Content)), false
	for _, item := range n.Content {
		s, ok := d.scalar(item, path)
		if ok && f.item != nil {
			err := f.item(s)
			d.check(item, path, f.secret, err)
			ok = err == nil
		}
		bad = bad || !ok
		values = append(values, s)
	}
	if bad {
		return
	}
	if err := f.list(values); err != nil {
		d.failAt(n, path, "%v", err)
	}
}

// check records what a reader of a scalar had to say, in front of it the value as it was written.
func (d *decoder) check(n *yaml.Node, path string, secret bool, err error) {
	switch {
	case err == nil:
	case secret:
		d.failAt(n, path, "the value %v", err)
	default:
		d.failAt(n, path, "%q %v", clip(n.Value), err)
	}
}

var kindNames = map[yaml.Kind]string{
	yaml.MappingNode: "a mapping (key: value)", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value",
}

// isKind records an error unless n has the kind. An empty value counts as an empty mapping or list, so
// that all keys of a section can be commented out.
func (d *decoder) isKind(n *yaml.Node, path string, kind yaml.Kind) bool {
	switch {
	case n.Kind == kind && (kind != yaml.ScalarNode || n.Tag != "!!null"):
		return true
	case n.Kind == yaml.AliasNode:
		d.failAt(n, path, "anchors and aliases are not supported; write the value out")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null" && kind != yaml.ScalarNode:
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.failAt(n, path, "has no value; give it one, or remove the line for the default")
	default:
		d.failAt(n, path, "must be %s, not %s", kindNames[kind], kindNames[n.Kind])
	}
	return false
}

// scalar returns the text of a scalar with its ${VAR} expanded.
func (d *decoder) scalar(n *yaml.Node, path string) (string, bool) {
	if !d.isKind(n, path, yaml.ScalarNode) {
		return "", false
	}
	if _, override := d.origins[n]; override {
		return n.Value, true
	}
	s, err := d.expand(n.Value)
	if err != nil {
		d.failAt(n, path, "%v", err)
		return "", false
	}
	return s, true
}

// expand replaces each ${NAME} by the environment variable of that name; $${ is a literal ${.
func (d *decoder) expand(s string) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		name, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed || !isVariable(name) {
			return "", fmt.Errorf("has a ${ that is not followed by a variable's name and }; write $${ for a literal ${")
		}
		d.expanded[name] = true
		value, ok := d.lookup(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		if value == "" {
			return "", fmt.Errorf("the environment variable %s is empty", name)
		}
		b.WriteString(value)
		s = rest
	}
}

func isVariable(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
