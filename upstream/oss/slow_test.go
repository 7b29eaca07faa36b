//go:build e2e

package oss_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"unistore/upstream"
)

// slowReader pauses once, in the middle.
type slowReader struct {
	io.Reader
	after int
	pause time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.after <= 0 && s.pause > 0 {
		time.Sleep(s.pause)
		s.pause = 0
	}
	n, err := s.Reader.Read(p)
	s.after -= n
	return n, err
}

// TestTrapSlowConsumer, section 2: the SDK's own client ends a connection that has been still for 10 s, also when it is
// the consumer, or the producer of a body, that takes its time.
func TestTrapSlowConsumer(t *testing.T) {
	const pause = 11 * time.Second // the time itself is what is tested
	w := newWorld(t, nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB, more than sockets hold
	w.put("k", string(data))
	t.Run("reading", func(t *testing.T) {
		t.Parallel()
		st, err := w.b.Open(t.Context(), loc("k"), upstream.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Body.Close()
		got, err := io.ReadAll(&slowReader{st.Body, 1 << 20, pause})
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
		}
	})
	t.Run("writing", func(t *testing.T) {
		t.Parallel()
		_, err := w.b.Put(t.Context(), loc("other"), upstream.PutRequest{
			Body: &slowReader{bytes.NewReader(data), 1 << 20, pause}, Size: int64(len(data)),
		})
		if err != nil {
			t.Error(err)
		}
	})
}
