package hdfs

import (
	"strings"
	"unicode/utf8"

	"unistore/upstream"
)

// The escapes of names in HDFS; see the package comment.
const (
	escape       = ".="
	escapeName   = ".=n"
	escapeObject = ".=o"
)

// What HDFS can hold: the defaults of dfs.namenode.fs-limits.max-component-length, and of a NameNode's
// MAX_PATH_LENGTH (8000) and MAX_PATH_DEPTH (1000), less room for the root and the inode prefix.
const (
	maxComponent = 255
	maxPath      = 7800
	maxDepth     = 950
)

// keyPath is where an object is: the directories from its bucket on, and its file's two names.
type keyPath struct {
	dirs  []string
	plain string
	aside string // the name when plain is a directory's
}

// pathOf returns the path of a key, or InvalidKey.
func pathOf(op, key string) (keyPath, error) {
	if key == "" || strings.ContainsRune(key, 0) || !utf8.ValidString(key) {
		return keyPath{}, upstream.Errorf(upstream.InvalidKey, op, "a file name cannot hold %q", key)
	}
	components := strings.Split(key, "/")
	last := len(components) - 1
	p := keyPath{plain: nameOf(components[last]), aside: escapeObject + encode(components[last])}
	longest, total := len(p.aside), len(p.aside)
	for _, c := range components[:last] {
		name := nameOf(c)
		p.dirs = append(p.dirs, name)
		total += len(name) + 1
		// An object may take the directory's place one day: its name aside must fit too.
		longest = max(longest, len(escapeObject)+len(encode(c)))
	}
	if longest > maxComponent || total > maxPath || len(p.dirs) > maxDepth {
		return keyPath{}, upstream.Errorf(upstream.InvalidKey, op, "HDFS has no room for a name of %d bytes, in %d directories", longest, len(p.dirs))
	}
	return p, nil
}

// dirPath returns the directories of all keys that begin with prefix, which ends in "/" or is empty.
func dirPath(op, prefix string) ([]string, error) {
	if prefix == "" {
		return nil, nil
	}
	p, err := pathOf(op, prefix)
	return p.dirs, err
}

// nameOf escapes a component where it must be.
func nameOf(c string) string {
	if needsEscape(c) {
		return escapeName + encode(c)
	}
	return c
}

func needsEscape(c string) bool {
	return c == "" || c == "." || c == ".." || c == ".snapshot" || c == ".reserved" ||
		strings.HasPrefix(c, escape) || strings.Contains(c, ":")
}

var (
	encoder = strings.NewReplacer("%", "%25", ":", "%3A")
	decoder = strings.NewReplacer("%25", "%", "%3A", ":")
)

// encode takes from a component the one character that HDFS has none of.
func encode(c string) string { return encoder.Replace(c) }

// decode is the inverse of encode; false for what encode never gives.
func decode(name string) (string, bool) {
	c := decoder.Replace(name)
	return c, encode(c) == name
}

// asideOf returns the name to which a file called name makes way for a directory, or false for a name that
// is no object's.
func asideOf(name string) (string, bool) {
	segment, ok := segmentOf(name, false)
	return escapeObject + encode(segment), ok
}

// segmentOf returns what a directory entry adds to the key, or false for a name that no key leads to. A
// directory's segment ends in "/".
func segmentOf(name string, isDir bool) (segment string, ok bool) {
	tail := ""
	if isDir {
		tail = "/"
	}
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", false
	}
	if !strings.HasPrefix(name, escape) {
		return name + tail, len(escapeObject)+len(encode(name)) <= maxComponent
	}
	if len(name) < len(escapeName) {
		return "", false
	}
	c, ok := decode(name[len(escapeName):])
	switch name[:len(escapeName)] {
	case escapeName:
		return c + tail, ok && needsEscape(c)
	case escapeObject:
		return c, ok && !isDir
	default:
		return "", false
	}
}
