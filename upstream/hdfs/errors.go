package hdfs

import (
	"context"
	"errors"
	"strings"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
)

// fail gives an error of the cluster its code. A missing file is Unavailable here: where it means a
// missing object, the caller says so itself.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return err
	}
	e := &upstream.Error{Code: codeOf(err), Op: op, Err: err}
	if lost, ok := errors.AsType[*namenode.LostError](err); ok {
		e.Unsent = lost.Unsent
	}
	return e
}

// codes are the exceptions that mean something else than Unavailable.
var codes = map[upstream.Code][]string{
	upstream.Access: {"AccessControlException", "AuthorizationException", "InvalidToken"},
	upstream.NoSpace: {
		"QuotaExceededException", "NSQuotaExceededException", "DSQuotaExceededException", "QuotaByStorageTypeExceededException",
		"MaxDirectoryItemsExceededException",
	},
	upstream.InvalidKey:  {"PathComponentTooLongException", "InvalidPathException"},
	upstream.Unsupported: {"UnknownCryptoProtocolVersionException", "RpcNoSuchMethodException", "UnsupportedOperationException"},
}

func codeOf(err error) upstream.Code {
	if _, ok := errors.AsType[*namenode.LostError](err); ok { // whatever the cause: some timeouts look like a deadline
		return upstream.Unavailable
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return upstream.Cancelled
	}
	for code, classes := range codes {
		if namenode.Is(err, classes...) {
			return code
		}
	}
	return upstream.Unavailable // SafeModeException, StandbyException, RetriableException, a DataNode's words, ...
}

// isMissing reports that a path leads nowhere: a part of it is missing, or is a file. For a user without
// special rights the NameNode calls the latter a question of access.
func isMissing(err error) bool {
	return namenode.Is(err, "FileNotFoundException", "ParentNotDirectoryException", "PathNotFoundException") || belowFile(err)
}

// belowFile reports that a part of a path is a file.
func belowFile(err error) bool {
	remote, ok := errors.AsType[*namenode.RemoteError](err)
	return ok && (namenode.Is(err, "ParentNotDirectoryException") || strings.Contains(remote.Message, "(is not a directory)"))
}

// clashes reports that a file was to take the place of a directory.
func clashes(err error) bool {
	remote, ok := errors.AsType[*namenode.RemoteError](err)
	return ok && strings.Contains(remote.Message, "must both be directories")
}

func exists(err error) bool { return namenode.Is(err, "FileAlreadyExistsException") }

func alive(ctx context.Context, op string) error { return fail(op, ctx.Err()) }

// transferError gives a failure of a DataNode its code.
func transferError(ctx context.Context, op string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return fail(op, cerr)
	}
	if _, ok := errors.AsType[*namenode.RemoteError](err); ok {
		return fail(op, err)
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return err
	}
	return &upstream.Error{Code: upstream.Unavailable, Op: op, Err: err}
}

// answered reports whether err is a NameNode's answer.
func answered(err error) bool {
	_, ok := errors.AsType[*namenode.RemoteError](err)
	return ok
}
