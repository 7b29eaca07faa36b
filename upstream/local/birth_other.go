//go:build !linux

package local

import (
	"io/fs"
	"os"
	"time"
)

// birth returns when an entry of dir was changed.
func birth(_ *os.File, _ string, info fs.FileInfo) time.Time { return info.ModTime().UTC() }
