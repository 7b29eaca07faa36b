package netx

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// sendChunk is the most that one wait for the client covers.
const sendChunk = 4 << 20

var (
	// errNoSendfile says that this file or socket has no sendfile; nothing is lost, bytes are copied.
	errNoSendfile = errors.New("no sendfile")

	// noSendfile are the answers of kernels, file systems and sandboxes without it (sendfile(2)).
	noSendfile = []error{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM}
	// ofSocket are the errors of sendfile that speak of the client's side; all others are the file's.
	ofSocket = []error{unix.EPIPE, unix.ECONNRESET, unix.ECONNABORTED, unix.ENOTCONN, unix.ESHUTDOWN, unix.ETIMEDOUT,
		unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.ENETUNREACH, unix.ENETDOWN, unix.ENETRESET, unix.ENOBUFS}
)

// sendRegion sends all of r or fails. r is advanced by what went out.
func (c *Conn) sendRegion(r *FileRegion) (sent int64, err error) {
	if r.Len < 0 || r.Off < 0 {
		return 0, &FileError{unix.EINVAL}
	}
	if r.Len == 0 {
		return 0, nil
	}
	if c.raw == nil {
		return c.copyRegion(r)
	}
	file, err := r.File.SyscallConn()
	if err != nil {
		return 0, &FileError{err}
	}
	// Control holds the descriptor: were File closed meanwhile, its number could not come to mean another file.
	if controlErr := file.Control(func(fd uintptr) { sent, err = c.sendFrom(int(fd), r) }); controlErr != nil {
		return 0, &FileError{os.ErrClosed} // its only cause
	}
	if errors.Is(err, errNoSendfile) {
		copied, err := c.copyRegion(r)
		return sent + copied, err
	}
	return sent, err
}

func (c *Conn) sendFrom(src int, r *FileRegion) (sent int64, err error) {
	for r.Len > 0 {
		if err := c.armWrite(); err != nil {
			return sent, err
		}
		n, err := c.sendSome(src, r.Off, int(min(r.Len, sendChunk)))
		sent += int64(n)
		r.advance(n)
		c.sentFile.Add(int64(n))
		if err != nil && !c.goesOn(err, n > 0) {
			return sent, err
		}
	}
	return sent, nil
}

// sendSome sends size bytes at off, waiting for the client as the write deadline allows. It returns less
// only with an error.
func (c *Conn) sendSome(src int, off int64, size int) (sent int, err error) {
	var failed error
	err = c.raw.Write(func(dst uintptr) bool {
		for sent < size {
			at := off + int64(sent)
			n, err := unix.Sendfile(int(dst), src, &at, size-sent)
			switch {
			case n > 0:
				sent += n
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				// Only now: the poller tells changes, and a socket that was never full does not change.
				return false
			case err == nil:
				failed = &FileError{io.ErrUnexpectedEOF}
				return true
			default:
				failed = c.sendfileError(err)
				return true
			}
		}
		return true
	})
	if failed != nil {
		return sent, failed
	}
	return sent, err
}

func (c *Conn) sendfileError(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case slices.ContainsFunc(noSendfile, is):
		return errNoSendfile
	case slices.ContainsFunc(ofSocket, is):
		return &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("sendfile", err)}
	}
	return &FileError{os.NewSyscallError("sendfile", err)}
}

// copyRegion is sendRegion through memory.
func (c *Conn) copyRegion(r *FileRegion) (sent int64, err error) {
	buf, _ := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for r.Len > 0 {
		n, err := r.peek(buf[:])
		if err != nil {
			return sent, err
		}
		n, err = c.Write(buf[:n])
		sent += int64(n)
		r.advance(n)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
