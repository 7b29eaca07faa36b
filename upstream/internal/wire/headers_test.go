package wire

import (
	"strings"
	"testing"
)

func TestValuesAreReversibleAndASCII(t *testing.T) {
	for _, v := range []string{
		"", " ", "a", "a b", " a", "a ", "100%25+1", "Grüße, 世界", "a\x00b", "tab\tinside", "\xff\xfe", "=?UTF-8?B?YQ==?=", "=?UTF-8?B?",
		"=?UTF-8?B?%%%?=", "=?utf-8?q?x?=",
	} {
		enc := EncodeValue(v)
		if got := DecodeValue(enc); got != v {
			t.Errorf("%q became %q on the wire and came back as %q", v, enc, got)
		}
		if !plain(enc) {
			t.Errorf("%q goes out as %q", v, enc)
		}
	}
	if got := EncodeValue(`a "quoted", comma; semi=colon`); got != `a "quoted", comma; semi=colon` {
		t.Errorf("a plain value was encoded: %q", got)
	}
}

func FuzzValue(f *testing.F) {
	f.Add("=?UTF-8?B?YQ==?=")
	f.Fuzz(func(t *testing.T, v string) {
		if enc := EncodeValue(v); DecodeValue(enc) != v || !plain(enc) {
			t.Errorf("%q -> %q -> %q", v, enc, DecodeValue(enc))
		}
	})
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"a-b_c.d", "_", "-", "--", "---", "a--5f", "a-_", "-_-", "a---5f", "A", "--2d", "x-", "é"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		enc := EncodeName(name)
		if got := DecodeName(enc); got != name {
			t.Errorf("%q -> %q -> %q", name, enc, got)
		}
		if strings.Trim(enc, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q goes out as %q", name, enc)
		}
	})
}

func TestNamesThatAreSafeStayAsTheyAre(t *testing.T) {
	for _, name := range []string{"owner", "a-b-c", "x1", "-a", "a-"} {
		if got := EncodeName(name); got != name {
			t.Errorf("%q goes out as %q", name, got)
		}
	}
}
