package local

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// birth returns when an entry of dir was made; where the file system does not tell, when it was changed.
func birth(dir *os.File, name string, info fs.FileInfo) time.Time {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return info.ModTime().UTC()
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).UTC()
}

// errNoAttr is what the system says when a file has no such attribute.
const errNoAttr = unix.ENODATA
