package upstream

import (
	"errors"
	"io"
	"testing"
)

// filled is a pump whose goroutine has read these chunks, the last of which ends with err.
func filled(t *testing.T, err error, texts ...string) *pump {
	t.Helper()
	p := newPump(t.Context(), nil)
	p.mu.running = true
	for i, text := range texts {
		c := chunk{buf: new([pumpBuffer]byte), n: len(text)}
		copy(c.buf[:], text)
		if i == len(texts)-1 {
			c.err = err
		}
		p.full <- c
	}
	return p
}

func TestPumpDeliversAllThatIsThere(t *testing.T) {
	tests := []struct {
		name   string
		size   int
		err    error
		chunks []string
		want   string
	}{
		{"two chunks", 10, nil, []string{"abc", "def"}, "abcdef"},
		{"an end", 10, io.EOF, []string{"abc", "def"}, "abcdef"},
		{"no room for all", 4, nil, []string{"abc", "def"}, "abcd"},
		{"exactly one", 3, nil, []string{"abc", "def"}, "abc"},
		{"an empty chunk ends it", 10, nil, []string{"abc", ""}, "abc"},
	}
	for _, tt := range tests {
		p := filled(t, tt.err, tt.chunks...)
		got := make([]byte, tt.size)
		n, err := p.Read(got)
		if string(got[:n]) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", tt.name, got[:n], err)
		}
	}
	p := filled(t, nil, "", "abc")
	if n, err := p.Read(make([]byte, 10)); n != 0 || err != nil { // so that sources without progress are found out
		t.Errorf("an empty chunk: %d, %v", n, err)
	}
}
