package local

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a directory: dirs below root. Nothing that is opened through it is outside root.
type place struct {
	root  *os.Root
	dirs  []string
	level int // how many directories a walk went down to get here
}

func (p place) path() string {
	if len(p.dirs) == 0 {
		return "."
	}
	return strings.Join(p.dirs, "/")
}

// open opens the directory.
func (p place) open() (*os.File, error) {
	return p.root.OpenFile(p.path(), os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// below returns the directory name in p.
func (p place) below(name string) place {
	return place{p.root, slices.Concat(p.dirs, []string{name}), p.level + 1}
}

// anchorEvery is how many directories are walked from a root before a new root is opened there. A key
// of 1024 slashes is 1024 directories deep; without anchors a walk would open half a million.
const anchorEvery = 32

// anchored returns p, from a root that is near. done must be called when p is no longer used.
func (p place) anchored() (near place, done func(), err error) {
	if len(p.dirs) < anchorEvery {
		return p, func() {}, nil
	}
	root, err := p.root.OpenRoot(p.path())
	if err != nil {
		return p, nil, err
	}
	return place{root: root, level: p.level}, func() { _ = root.Close() }, nil
}

// chain gives quick access to every directory on a path.
type chain struct {
	dirs    []string
	anchors []*os.Root // the i-th is at dirs[:i*anchorEvery]; the first is the bucket's and not ours
}

// chain returns the directories on a path, some of which may be missing. The caller closes it.
func (k *bucket) chain(dirs []string) *chain {
	c := &chain{dirs: dirs, anchors: []*os.Root{k.dir}}
	for depth := anchorEvery; depth < len(dirs); depth += anchorEvery {
		next, err := c.anchors[len(c.anchors)-1].OpenRoot(c.at(depth).path())
		if err != nil {
			break // from here on the last anchor must do
		}
		c.anchors = append(c.anchors, next)
	}
	return c
}

// at returns the directory dirs[:depth].
func (c *chain) at(depth int) place {
	i := min(depth/anchorEvery, len(c.anchors)-1)
	return place{root: c.anchors[i], dirs: c.dirs[i*anchorEvery : depth]}
}

func (c *chain) close() {
	for _, root := range c.anchors[1:] {
		_ = root.Close()
	}
}

// spot is a directory that is open.
type spot struct {
	place
	dir *os.File
}

// visit calls fn with an open directory, unless it is gone, or goes meanwhile.
func visit(at place, fn func(in *spot) error) error {
	at, done, err := at.anchored()
	if err == nil {
		defer done()
		in := &spot{place: at}
		if in.dir, err = at.open(); err == nil {
			err = fn(in)
			_ = in.dir.Close() // only read
		}
	}
	if isMissing(err) || leavesBucket(err) {
		return nil
	}
	return err
}

// descend calls fn, which walks a directory below. Deep down it closes the directory meanwhile, so that
// one request does not hold a descriptor for every level of a hostile key.
func (s *spot) descend(fn func() error) error {
	if s.level < anchorEvery {
		return fn()
	}
	if err := errors.Join(s.dir.Close(), fn()); err != nil {
		return err
	}
	dir, err := s.open()
	if err == nil {
		s.dir = dir
	}
	return err
}
