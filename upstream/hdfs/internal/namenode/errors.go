package namenode

import (
	"errors"
	"strings"
)

// RemoteError is what a NameNode answered instead of a result.
type RemoteError struct {
	Method  string
	Class   string // of the Java exception, in full
	Message string // its first line
}

func (e *RemoteError) Error() string {
	return e.Method + ": " + e.name() + ": " + e.Message
}

// name is the class without its package.
func (e *RemoteError) name() string { return e.Class[strings.LastIndexByte(e.Class, '.')+1:] }

// Is reports whether err is a NameNode's exception of one of the classes, named without their package.
func Is(err error, classes ...string) bool {
	remote, ok := errors.AsType[*RemoteError](err)
	if !ok {
		return false
	}
	for _, class := range classes {
		// Nested classes are named as Outer$Inner.
		if name := remote.name(); name == class || strings.HasSuffix(name, "$"+class) {
			return true
		}
	}
	return false
}

// LostError says that no NameNode gave an answer.
type LostError struct {
	Err error
	// Unsent: no NameNode was reached, so nothing has been done.
	Unsent bool
}

func (e *LostError) Error() string { return "no answer of a NameNode: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Err }

// errTimeout says that a NameNode took longer than Config.CallTimeout.
var errTimeout = errors.New("the NameNode does not answer in time")

// errClosed says that a call met Close.
var errClosed = errors.New("the client is closed")

// firstLine leaves the stack trace away that Hadoop puts into messages.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
