package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWideConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- nil
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c)
		got <- all
	}()
	c, err := wide(new(net.Dialer).DialContext)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789"), 3*BodyWrite/10)
	broken := errors.New("broken")
	n, err := io.Copy(c, struct{ io.Reader }{io.MultiReader(iotest.DataErrReader(bytes.NewReader(want)), iotest.ErrReader(broken))})
	if n != int64(len(want)) || !errors.Is(err, broken) {
		t.Errorf("%d bytes, %v", n, err)
	}
	c.Close()
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes came, %d were sent", len(all), len(want))
	}
	if n, err := io.Copy(c, strings.NewReader("x")); n != 0 || err == nil {
		t.Errorf("on a closed connection: %d, %v", n, err)
	}
}
