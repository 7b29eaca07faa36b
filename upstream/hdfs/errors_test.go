package hdfs

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
)

func remote(class, message string) error {
	return &namenode.RemoteError{Method: "m", Class: class, Message: message}
}

func TestCodes(t *testing.T) {
	tests := map[upstream.Code][]error{
		upstream.Cancelled: {context.Canceled, fmt.Errorf("x: %w", context.DeadlineExceeded)},
		upstream.Access: {
			remote("org.apache.hadoop.security.AccessControlException", "Permission denied"),
			remote("org.apache.hadoop.security.authorize.AuthorizationException", "no"),
		},
		upstream.NoSpace: {
			remote("org.apache.hadoop.hdfs.protocol.NSQuotaExceededException", "quota"),
			remote("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "quota"),
			remote("org.apache.hadoop.hdfs.protocol.FSLimitException$MaxDirectoryItemsExceededException", "full"),
		},
		upstream.InvalidKey:  {remote("org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLongException", "long")},
		upstream.Unsupported: {remote("org.apache.hadoop.hdfs.UnknownCryptoProtocolVersionException", "zone")},
		upstream.Unavailable: {
			remote("org.apache.hadoop.hdfs.server.namenode.SafeModeException", "safe mode"),
			remote("org.apache.hadoop.ipc.StandbyException", "standby"),
			remote("org.apache.hadoop.ipc.RetriableException", "starting"),
			remote("java.io.IOException", "could only be written to 0 of the 1 minReplication nodes"),
			&namenode.LostError{Err: context.DeadlineExceeded}, errors.New("a DataNode hung up"),
		},
	}
	for want, errs := range tests {
		for _, err := range errs {
			got := fail("Put", err)
			if upstream.CodeOf(got) != want || !errors.Is(got, want) {
				t.Errorf("%v has code %v, want %v", err, upstream.CodeOf(got), want)
			}
		}
	}
	if e, ok := errors.AsType[*upstream.Error](fail("Put", &namenode.LostError{Err: errors.New("refused"), Unsent: true})); !ok || !e.Unsent {
		t.Error("an unsent call is not told")
	}
	if fail("Put", nil) != nil {
		t.Error("no error has a code")
	}
}

func TestMissing(t *testing.T) {
	for _, err := range []error{
		remote("java.io.FileNotFoundException", "x"), remote("org.apache.hadoop.fs.ParentNotDirectoryException", "x"),
		// what a user without special rights is told
		remote("org.apache.hadoop.security.AccessControlException", "/a/b (is not a directory)"),
	} {
		if !isMissing(err) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range []error{nil, errors.New("x"), remote("org.apache.hadoop.security.AccessControlException", "Permission denied")} {
		if isMissing(err) {
			t.Errorf("%v", err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no NameNodes": {Root: "/u"}, "no port": {NameNodes: []string{"nn"}, Root: "/u"},
		"no root": {NameNodes: []string{"nn:1"}}, "relative root": {NameNodes: []string{"nn:1"}, Root: "u"},
		"unclean root": {NameNodes: []string{"nn:1"}, Root: "/u/../v"}, "colon": {NameNodes: []string{"nn:1"}, Root: "/u:v"},
	} {
		if b, err := New(cfg); !errors.Is(err, upstream.Invalid) || b != nil {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}
