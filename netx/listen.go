package netx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	unixPrefix = "unix:"
	// socketMode lets the owner and the group connect.
	socketMode = 0o660
	// maxSocketPath is sizeof(sun_path) less the terminating zero (unix(7)).
	maxSocketPath = 107
	// probeTimeout bounds the question whether a socket file has a live owner.
	probeTimeout = time.Second
)

// keepAlive finds a client that vanished without a word after about two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// Listen listens on addr: "host:port", or "unix:" and a path. A socket file left behind by a dead process is
// replaced; one whose owner lives, or a file of another kind, is an error. The file gets mode 0660
// and is removed by Close.
func Listen(addr string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(addr, unixPrefix)
	if isUnix {
		return listenUnix(path)
	}
	if addr == "" {
		return nil, errors.New("netx: listen: the address is empty")
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	// Clients on one host or in one data centre gain nothing from several paths, and sendfile loses.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("netx: %w", err)
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	switch {
	case path == "" || path[0] == '@':
		return nil, fmt.Errorf("netx: listen %s%s: not a path", unixPrefix, path)
	case len(path) > maxSocketPath:
		return nil, fmt.Errorf("netx: listen %s%s: longer than %d bytes", unixPrefix, path, maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("netx: listen %s%s: %w", unixPrefix, path, err)
	}
	// bind(2) takes the mode of the socket, less the umask: nobody else can connect before the chmod.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }), err)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("netx: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("netx: %w", err), l.Close())
	}
	return l, nil
}

// removeStale removes the socket at path if nobody listens on it. Nothing there is no error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is there")
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%w: another process listens there", unix.EADDRINUSE)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
