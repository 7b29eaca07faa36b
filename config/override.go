package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "UNISTORE_"

// The variables with a meaning of their own. Names with the prefixes below are made by others: Kubernetes
// gives those of a service called unistore to every pod.
var (
	envReserved = []string{"UNISTORE_ACCESS_KEY", "UNISTORE_SECRET_KEY", "UNISTORE_CONFIG", "UNISTORE_DATA_DIR", "UNISTORE_ADMIN_URL"}
	envForeign  = []string{"UNISTORE_TEST_", "UNISTORE_SERVICE_", "UNISTORE_PORT"}
)

// setting is a value that can be set from outside of the file.
type setting struct {
	steps []string // the keys from the root
	field field
}

// override puts the environment's and then the flags' values into the tree.
func (d *decoder) override(root *yaml.Node, opts LoadOptions) {
	fixed := fixedSettings((&raw{Config: &Config{}}).fields(), nil)
	for name, value := range d.variables(opts.Environ) {
		if s, ok := findVariable(fixed, root, name); ok {
			d.set(root, s, name, value)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(opts.Flags)) {
		origin := "flag " + path
		s, ok := findPath(fixed, path)
		if !ok {
			hint := didYouMean(path, slices.Collect(maps.Keys(fixed)))
			d.errs = append(d.errs, &Error{Source: origin, What: "no such setting, or one that only the file can hold" + hint})
			continue
		}
		d.set(root, s, origin, opts.Flags[path])
	}
}

// variables yields the names and values that start with the prefix and are not reserved, sorted.
func (d *decoder) variables(environ []string) func(func(string, string) bool) {
	var names []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		foreign := func(p string) bool { return strings.HasPrefix(name, p) }
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(envReserved, name) && !slices.ContainsFunc(envForeign, foreign) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return func(yield func(string, string) bool) {
		for _, name := range slices.Compact(names) {
			if value, _ := d.lookup(name); !yield(name, value) {
				return
			}
		}
	}
}

// unknownVariables warns of variables that look like settings and are none.
func (d *decoder) unknownVariables(environ []string) {
	fixed := fixedSettings((&raw{Config: &Config{}}).fields(), nil)
	names := make([]string, 0, len(fixed))
	for path := range fixed {
		names = append(names, variable(path))
	}
	slices.Sort(names)
	for name := range d.variables(environ) {
		_, known := findVariable(fixed, &yaml.Node{}, name)
		if !known && !d.expanded[name] {
			d.warnings = append(d.warnings, "environment variable "+clip(name)+" is no setting: ignored"+didYouMean(name, names))
		}
	}
}

// fixedSettings are the scalars and lists of scalars below fields, by dotted path. Mappings with free keys are
// there under their own path.
func fixedSettings(fields []field, above []string) map[string]setting {
	all := make(map[string]setting)
	for _, f := range fields {
		steps := append(slices.Clone(above), f.name)
		if f.keys != nil {
			maps.Copy(all, fixedSettings(f.keys, steps))
		} else if f.text != nil || f.list != nil || f.named != nil {
			all[strings.Join(steps, ".")] = setting{steps, f}
		}
	}
	return all
}

// namedFields are the settings of one entry of a mapping with free keys.
func namedFields(s setting) []field {
	d := &decoder{places: map[string]*yaml.Node{}}
	return slices.DeleteFunc(s.field.named(entry{d: d, node: &yaml.Node{}}), func(f field) bool {
		return f.text == nil && f.list == nil && f.custom == nil
	})
}

// findPath resolves a dotted path. A name between its first and its last part may have dots itself.
func findPath(fixed map[string]setting, path string) (setting, bool) {
	if s, ok := fixed[path]; ok {
		return s, s.field.named == nil
	}
	section, rest, _ := strings.Cut(path, ".")
	dot := strings.LastIndexByte(rest, '.')
	s, ok := fixed[section]
	if !ok || s.field.named == nil || dot < 1 {
		return setting{}, false
	}
	for _, f := range namedFields(s) {
		if f.name == rest[dot+1:] {
			return setting{[]string{section, rest[:dot], f.name}, f}, true
		}
	}
	return setting{}, false
}

// variable is the environment variable of a dotted path.
func variable(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// findVariable resolves an environment variable. UNISTORE_UPSTREAMS_NAME_KEY is the entry of the file whose
// name is NAME but for case and punctuation, or a new one in lower case.
func findVariable(fixed map[string]setting, root *yaml.Node, name string) (setting, bool) {
	for path, s := range fixed {
		if s.field.named == nil && variable(path) == name {
			return s, true
		}
	}
	for path, s := range fixed {
		rest, ok := strings.CutPrefix(name, variable(path)+"_")
		if s.field.named == nil || !ok {
			continue
		}
		var best field
		for _, f := range namedFields(s) {
			if strings.HasSuffix(rest, "_"+strings.ToUpper(f.name)) && len(f.name) > len(best.name) {
				best = f
			}
		}
		if middle := len(rest) - len(best.name) - 1; best.name != "" && middle > 0 {
			return setting{[]string{path, existing(root, path, rest[:middle]), best.name}, best}, true
		}
	}
	return setting{}, false
}

// existing returns the key below section that the upper-case name stands for, or name in lower case.
func existing(root *yaml.Node, section, name string) string {
	if n := child(root, section); n != nil {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; variable(key) == envPrefix+name {
				return key
			}
		}
	}
	return strings.ToLower(name)
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// set puts value at s into the tree. Where the file has something of another kind in the way, it is
// left for the decoder to complain about.
func (d *decoder) set(root *yaml.Node, s setting, origin, value string) {
	at := root
	for _, key := range s.steps[:len(s.steps)-1] {
		next := child(at, key)
		if next == nil {
			next = &yaml.Node{Kind: yaml.MappingNode}
			d.put(at, key, next, origin)
		} else if next.Kind == yaml.ScalarNode && next.Tag == "!!null" {
			next.Kind, next.Tag, next.Value = yaml.MappingNode, "!!map", ""
		}
		if at = next; at.Kind != yaml.MappingNode {
			return
		}
	}
	last := s.steps[len(s.steps)-1]
	switch last { // one of the two ways to give a secret replaces the other
	case "secret_key":
		remove(at, "secret_key_file")
	case "secret_key_file":
		remove(at, "secret_key")
	}
	leaf := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if s.field.list != nil {
		leaf = &yaml.Node{Kind: yaml.SequenceNode}
		for part := range strings.SplitSeq(value, ",") {
			item := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(part)}
			d.origins[item] = origin
			leaf.Content = append(leaf.Content, item)
		}
	}
	remove(at, last)
	d.put(at, last, leaf, origin)
}

func (d *decoder) put(n *yaml.Node, key string, value *yaml.Node, origin string) {
	keyNode := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}
	d.origins[keyNode], d.origins[value] = origin, origin
	n.Content = append(n.Content, keyNode, value)
}

func remove(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}
