package local

import (
	"strings"

	"unistore/upstream"
)

// The escapes of names on disk; see the package comment.
const (
	escape       = ".="
	escapeName   = ".=n"
	escapeLong   = ".=l"
	escapeObject = ".=o"
)

// longPiece is how much of a long component one directory holds. NAME_MAX is 255 bytes and an escape
// takes 3. Every component of at least so many bytes is split, even those that would fit: then a
// long directory holds exactly the keys that begin with its name, and a walk stays in order.
const longPiece = 252

// keyPath is where an object is: the directories from its bucket on, and its file's two names.
type keyPath struct {
	dirs  []string
	plain string
	aside string // the name when plain is a directory's
}

// pathOf returns the path of a key.
func pathOf(op, key string) (keyPath, error) {
	if key == "" || strings.ContainsRune(key, 0) {
		return keyPath{}, upstream.Errorf(upstream.InvalidKey, op, "a file name cannot hold %q", key)
	}
	components := strings.Split(key, "/")
	var p keyPath
	for i, c := range components {
		for len(c) >= longPiece {
			p.dirs = append(p.dirs, escapeLong+c[:longPiece])
			c = c[longPiece:]
		}
		if i < len(components)-1 {
			p.dirs = append(p.dirs, nameOf(c))
		} else {
			p.plain, p.aside = nameOf(c), escapeObject+c
		}
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

// nameOf escapes a component that is shorter than longPiece.
func nameOf(c string) string {
	if needsEscape(c) {
		return escapeName + c
	}
	return c
}

func needsEscape(c string) bool {
	return c == "" || c == "." || c == ".." || strings.HasPrefix(c, escape)
}

// asideOf returns the name to which a file called name makes way for a directory.
func asideOf(name string) string { return escapeObject + strings.TrimPrefix(name, escapeName) }

// segmentOf returns what a directory entry adds to the key, or false for a name that no key leads to.
// A directory's segment ends in "/", except one that holds a part of a long component.
func segmentOf(name string, isDir bool) (segment string, ok bool) {
	tail := ""
	if isDir {
		tail = "/"
	}
	if !strings.HasPrefix(name, escape) {
		return name + tail, len(name) < longPiece
	}
	if len(name) < len(escapeName) {
		return "", false
	}
	kind, c := name[:len(escapeName)], name[len(escapeName):]
	switch kind {
	case escapeName:
		return c + tail, needsEscape(c) && len(c) < longPiece
	case escapeObject:
		return c, !isDir && len(c) < longPiece
	case escapeLong:
		return c, isDir && len(c) == longPiece
	default:
		return "", false
	}
}
