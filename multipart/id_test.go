package multipart

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestIDRoundTrip(t *testing.T) {
	legal := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	for _, id := range []ID{
		{"aws", "VXBsb2FkIElE"},
		{"a", "x"},
		{strings.Repeat("u", 300), strings.Repeat("i", 1024)},
		{"aws", "with/slash+plus=and ümlaut\x00"},
	} {
		token := EncodeID(id)
		if !legal.MatchString(token) {
			t.Errorf("%q is not URL-safe", token)
		}
		got, err := DecodeID(token)
		if err != nil || got != id {
			t.Errorf("got %v, %v, want %v", got, err, id)
		}
	}
	if EncodeID(ID{"ab", "c"}) == EncodeID(ID{"a", "bc"}) {
		t.Error("two ids share a token")
	}
}

func TestDecodeIDRefuses(t *testing.T) {
	good := EncodeID(ID{"aws", "upload-1"})
	bad := []string{
		"", "A", "garbage!", "2~0Ab", strings.Repeat("A", 5000), good + "A", good[1:], good[:len(good)-1], good + "=",
		" " + good, good[:4] + "\n" + good[4:], EncodeID(ID{"", "x"}), EncodeID(ID{"aws", ""}),
	}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw { // any one byte wrong
		b := append([]byte(nil), raw...)
		b[i] ^= 0x20
		bad = append(bad, base64.RawURLEncoding.EncodeToString(b))
	}
	for _, token := range bad {
		if id, err := DecodeID(token); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v, %v", token, id, err)
		}
	}
}

func FuzzDecodeID(f *testing.F) {
	f.Add(EncodeID(ID{"aws", "upload-1"}))
	f.Add("AQNhd3M")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := DecodeID(token)
		if err == nil && EncodeID(id) != token {
			t.Errorf("%q decodes to %v, which is another token", token, id)
		}
	})
}
