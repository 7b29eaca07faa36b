//go:build !linux

package local

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// birth returns when an entry of dir was changed.
func birth(_ *os.File, _ string, info fs.FileInfo) time.Time { return info.ModTime().UTC() }

// errNoAttr is what the system says when a file has no such attribute.
const errNoAttr = unix.ENOATTR
