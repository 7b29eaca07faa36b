package local

import (
	"context"
	"errors"
	"syscall"

	"unistore/upstream"
)

// fail gives an error of the operating system its code. A missing file is Unavailable here: where it
// means a missing object, the caller says so itself.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return err
	}
	return &upstream.Error{Code: codeOf(err), Op: op, Err: err}
}

func codeOf(err error) upstream.Code {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return upstream.Cancelled
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return upstream.Unavailable
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return upstream.NoSpace
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return upstream.Access
	case syscall.ENAMETOOLONG, syscall.EILSEQ:
		return upstream.InvalidKey
	case syscall.EFBIG:
		return upstream.TooLarge
	case syscall.EXDEV: // a bucket on another file system than the root
		return upstream.Unsupported
	default:
		return upstream.Unavailable
	}
}

// isErrno reports whether err is one of the errnos.
func isErrno(err error, errnos ...syscall.Errno) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	for _, e := range errnos {
		if errno == e {
			return true
		}
	}
	return false
}

// isMissing reports that a path leads nowhere: a part of it is missing, or is a file.
func isMissing(err error) bool { return isErrno(err, syscall.ENOENT, syscall.ENOTDIR) }

func alive(ctx context.Context, op string) error { return fail(op, ctx.Err()) }
