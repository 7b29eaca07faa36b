package netx

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pattern returns bytes that depend on their position in the file, from off on.
func pattern(off int64, size int) []byte {
	data := make([]byte, 0, size+16)
	for at := off &^ 7; len(data) < size+8; at += 8 {
		data = binary.LittleEndian.AppendUint64(data, uint64(at)*0x9e3779b97f4a7c15)
	}
	return data[off&7:][:size]
}

func patternFile(t testing.TB, size int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, pattern(0, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSendRegion(t *testing.T) {
	const size = 9<<20 + 5 // more than two chunks
	f := patternFile(t, size)
	regions := []struct{ off, n int64 }{
		{0, 0}, {size, 0}, {0, 1}, {size - 1, 1}, {1, 4095}, {4096, 4096}, {4097, 64 << 10}, {1 << 20, 1<<20 + 3}, {0, size}, {3, sendChunk},
	}
	bothNetworks(t, func(t *testing.T, network string) {
		for _, r := range regions {
			server, client := pair(t, network, Config{})
			got := receive(client)
			region := &FileRegion{File: f, Off: r.off, Len: r.n}
			n, err := server.ReadFrom(region)
			_ = server.Close()
			if n != r.n || err != nil || region.Off != r.off+r.n || region.Len != 0 {
				t.Errorf("%v: sent %d, %v; left %d at %d", r, n, err, region.Len, region.Off)
			}
			if !bytes.Equal(within(t, "client", got), pattern(r.off, int(r.n))) {
				t.Errorf("%v: the bytes differ", r)
			}
			if file, memory := server.Sent(); file != r.n || memory != 0 {
				t.Errorf("%v: %d bytes from the file, %d through memory", r, file, memory)
			}
		}
	})
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the file is at %d, %v", at, err)
	}
}

// TestSendThroughBufio goes the way of an HTTP server: a header into the buffer, a flush, the body by
// io.CopyBuffer. The body does not touch memory.
func TestSendThroughBufio(t *testing.T) {
	const header, size = "HTTP/1.1 206 Partial Content\r\n\r\n", 3 << 20
	f := patternFile(t, size)
	server, client := pair(t, "tcp", Config{})
	got := receive(client)
	w := bufio.NewWriterSize(server, 4096)
	if _, err := w.WriteString(header); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyBuffer(w, &FileRegion{File: f, Off: 1, Len: size - 1}, make([]byte, 4096))
	if n != size-1 || err != nil {
		t.Fatalf("CopyBuffer = %d, %v", n, err)
	}
	if _, err := w.WriteString("next"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	want := header + string(pattern(1, size-1)) + "next"
	if string(within(t, "client", got)) != want {
		t.Error("the bytes differ")
	}
	if file, memory := server.Sent(); file != size-1 || memory != int64(len(header)+len("next")) {
		t.Errorf("%d bytes from the file, %d through memory", file, memory)
	}
}

// TestSendShared: one handle, many connections and offsets, all at once.
func TestSendShared(t *testing.T) {
	const size, readers = 8 << 20, 200
	f := patternFile(t, size)
	l := listen(t, "tcp", Config{})
	var all sync.WaitGroup
	defer all.Wait()
	for i := range readers {
		client := dial(t, l)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		off, n := int64(i*31337), 512<<10+i
		all.Go(func() {
			defer conn.Close()
			if sent, err := io.Copy(conn, &FileRegion{File: f, Off: off, Len: int64(n)}); sent != int64(n) || err != nil {
				t.Errorf("reader %d: sent %d, %v", i, sent, err)
			}
		})
		all.Go(func() {
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, pattern(off, n)) {
				t.Errorf("reader %d: %d bytes of %d, equal or not, %v", i, len(got), n, err)
			}
		})
	}
}

func TestSendBadFile(t *testing.T) {
	open := func(t *testing.T) *os.File { return patternFile(t, 100<<10) }
	tests := []struct {
		name string
		file func(t *testing.T) *os.File
		off  int64
		n    int64
		sent int64
		want error
	}{
		{"shorter", open, 0, 200 << 10, 100 << 10, io.ErrUnexpectedEOF},
		{"starts behind the end", open, 100 << 10, 1, 0, io.ErrUnexpectedEOF},
		{"negative offset", open, -1, 1, 0, syscall.EINVAL},
		{"negative length", open, 0, -1, 0, syscall.EINVAL},
		{"closed", func(t *testing.T) *os.File { f := open(t); _ = f.Close(); return f }, 0, 1, 0, os.ErrClosed},
		{"nil", func(*testing.T) *os.File { return nil }, 0, 1, 0, os.ErrInvalid},
		{"not for reading", func(t *testing.T) *os.File {
			f, err := os.OpenFile(open(t).Name(), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		}, 0, 1, 0, syscall.EBADF},
		{"directory", func(t *testing.T) *os.File {
			f, err := os.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		}, 0, 1, 0, syscall.EISDIR},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothNetworks(t, func(t *testing.T, network string) {
				server, client := pair(t, network, Config{})
				got := receive(client)
				region := &FileRegion{File: test.file(t), Off: test.off, Len: test.n}
				n, err := server.ReadFrom(region)
				var of *FileError
				if n != test.sent || !errors.Is(err, test.want) || !errors.As(err, &of) {
					t.Errorf("sent %d, %v; want %d, %v as a FileError", n, err, test.sent, test.want)
				}
				if region.Off != test.off+n || region.Len != test.n-n {
					t.Errorf("left %d at %d", region.Len, region.Off)
				}
				_ = server.Close()
				if data := within(t, "client", got); int64(len(data)) != n {
					t.Errorf("the client read %d bytes, %d were sent", len(data), n)
				}
			})
		})
	}
}

// TestKeepErr: a bufio.Writer goes on after a file that has failed.
func TestKeepErr(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		server, client := pair(t, network, Config{})
		got := receive(client)
		w := bufio.NewWriterSize(server, 16)
		region := &FileRegion{File: patternFile(t, 1000), Off: 900, Len: 200, KeepErr: true}
		n, err := w.ReadFrom(region)
		var of *FileError
		if n != 100 || err != nil || !errors.As(region.Err, &of) || !errors.Is(region.Err, io.ErrUnexpectedEOF) {
			t.Errorf("sent %d, %v; kept %v", n, err, region.Err)
		}
		if _, err := w.WriteString("the rest"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(w.Flush(), server.Close()); err != nil {
			t.Error(err)
		}
		if data := within(t, "client", got); len(data) != 108 || string(data[100:]) != "the rest" {
			t.Errorf("the client read %d bytes: ...%q", len(data), data[max(0, len(data)-8):])
		}
	})
}

// TestFileClosedWhileSending: the region goes on with the file it has, whatever opens under its number.
func TestFileClosedWhileSending(t *testing.T) {
	const size = 16 << 20
	f := patternFile(t, size)
	server, client := pair(t, "tcp", Config{})
	tight(t, server, client)
	type result struct {
		n   int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := server.ReadFrom(&FileRegion{File: f, Len: size})
		_ = server.Close()
		done <- result{n, err}
	}()
	begin := make([]byte, 100<<10)
	if _, err := io.ReadFull(client, begin); err != nil { // it runs
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // one of these would take the number of f
		other, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	rest, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	if r := within(t, "ReadFrom", done); r.n != size || r.err != nil {
		t.Errorf("sent %d, %v", r.n, r.err)
	}
	if !bytes.Equal(append(begin, rest...), pattern(0, size)) {
		t.Error("the bytes differ")
	}
}

func TestClientGoneWhileSending(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		const size = 32 << 20
		f := patternFile(t, size)
		server, client := pair(t, network, Config{})
		tight(t, server, client)
		region := &FileRegion{File: f, Len: size}
		done := make(chan error, 1)
		go func() {
			n, err := server.ReadFrom(region)
			if n != region.Off || n == 0 || n == size {
				err = fmt.Errorf("sent %d, the region is at %d: %w", n, region.Off, err)
			}
			done <- err
		}()
		if _, err := io.ReadFull(client, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		err := within(t, "ReadFrom", done)
		var ofFile *FileError
		var ofNet *net.OpError
		if errors.As(err, &ofFile) || !errors.As(err, &ofNet) || ofNet.Timeout() {
			t.Errorf("ReadFrom = %v, want an error of the connection", err)
		}
	})
}

func TestClosedWhileSending(t *testing.T) {
	f := patternFile(t, 32<<20)
	server, client := pair(t, "tcp", Config{})
	tight(t, server, client)
	done := make(chan error, 1)
	go func() {
		_, err := server.ReadFrom(&FileRegion{File: f, Len: 32 << 20})
		done <- err
	}()
	if _, err := io.ReadFull(client, make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if err := server.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "ReadFrom", done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom = %v, want ErrClosed", err)
	}
}

func TestSendStall(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		const stall, size = 50 * time.Millisecond, 32 << 20
		f := patternFile(t, size)
		server, client := pair(t, network, Config{WriteStall: stall})
		tight(t, server, client)
		region := &FileRegion{File: f, Len: size}
		begin := time.Now()
		n, err := server.ReadFrom(region)
		if took := time.Since(begin); !isTimeout(err) || n != region.Off || took < stall {
			t.Errorf("sent %d, %v after %v", n, err, took)
		}
		// The region knows where to go on. TCP may take a while to notice the reader.
		server.writeStall = time.Minute
		got := receive(client)
		if m, err := server.ReadFrom(region); n+m != size || err != nil {
			t.Errorf("the rest: sent %d, %v", m, err)
		}
		_ = server.Close()
		if !bytes.Equal(within(t, "client", got), pattern(0, size)) {
			t.Error("the bytes differ")
		}
	})
}

func TestSendToSlowReader(t *testing.T) {
	const stall, step, size = 300 * time.Millisecond, 10 * time.Millisecond, 4 << 20
	f := patternFile(t, size)
	server, client := pair(t, "unix", Config{WriteStall: stall})
	tight(t, server, client)
	done := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := server.ReadFrom(&FileRegion{File: f, Len: size})
		_ = server.Close()
		done <- err
	}()
	var got []byte
	buf := make([]byte, 32<<10)
	for len(got) < size {
		time.Sleep(step) // the slowness is the subject
		n, err := client.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buf[:n]...)
	}
	if err := within(t, "ReadFrom", done); err != nil {
		t.Errorf("ReadFrom = %v", err)
	}
	if took := time.Since(begin); took < 2*stall {
		t.Errorf("took %v, which proves nothing", took)
	}
	if !bytes.Equal(got, pattern(0, size)) {
		t.Error("the bytes differ")
	}
}

// TestWithoutSendfile: a connection that is no socket gets the same bytes through memory.
func TestWithoutSendfile(t *testing.T) {
	const size = 1<<20 + 7
	f := patternFile(t, size)
	inner, client := net.Pipe()
	server := newConn(inner, 0, time.Minute, func() {})
	got := receive(client)
	region := &FileRegion{File: f, Off: 3, Len: size - 3}
	if n, err := server.ReadFrom(region); n != size-3 || err != nil || region.Len != 0 || region.Off != size {
		t.Errorf("sent %d, %v; left %d at %d", n, err, region.Len, region.Off)
	}
	if n, err := server.ReadFrom(&FileRegion{File: f, Off: size - 1, Len: 2}); n != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("past the end: sent %d, %v", n, err)
	}
	_ = server.Close()
	want := append(pattern(3, size-3), pattern(size-1, 1)...)
	if !bytes.Equal(within(t, "client", got), want) {
		t.Error("the bytes differ")
	}
	if file, memory := server.Sent(); file != 0 || memory != size-3+1 {
		t.Errorf("%d bytes from the file, %d through memory", file, memory)
	}
}

// TestSendOther: ReadFrom of any reader is io.Copy.
func TestSendOther(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		r    io.Reader
		n    int64
		want error
	}{
		{"bytes", bytes.NewReader(pattern(0, 300<<10)), 300 << 10, nil},
		{"empty", bytes.NewReader(nil), 0, nil},
		{"fails", io.MultiReader(bytes.NewReader(pattern(0, 10)), &failing{broken}), 10, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, client := pair(t, "tcp", Config{})
			got := receive(client)
			if n, err := server.ReadFrom(test.r); n != test.n || !errors.Is(err, test.want) {
				t.Errorf("sent %d, %v; want %d, %v", n, err, test.n, test.want)
			}
			_ = server.Close()
			if !bytes.Equal(within(t, "client", got), pattern(0, int(test.n))) {
				t.Error("the bytes differ")
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestReadRegion: as a plain reader, for TLS, a region has the same bytes and errors.
func TestReadRegion(t *testing.T) {
	f := patternFile(t, 100<<10)
	region := &FileRegion{File: f, Off: 11, Len: 90 << 10}
	if got, err := io.ReadAll(region); err != nil || !bytes.Equal(got, pattern(11, 90<<10)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n, err := region.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	short := &FileRegion{File: f, Off: 100<<10 - 5, Len: 6}
	if got, err := io.ReadAll(short); len(got) != 5 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("past the end: %d bytes, %v", len(got), err)
	}
	if n, err := (&FileRegion{File: f, Len: 5}).Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
}
