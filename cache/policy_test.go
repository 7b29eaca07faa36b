package cache

import (
	"strings"
	"testing"
)

// A script is one operation a word: +a insert, a touch, -a remove. After it the victims are listed.
func TestLRU(t *testing.T) {
	tests := []struct{ script, want string }{
		{"", ""},
		{"+a", "a"},
		{"+a +b +c", "abc"},
		{"+a +b +c a", "bca"},
		{"+a +b +c b", "acb"},
		{"+a +b +c c c", "abc"},
		{"+a +b +c -b", "ac"},
		{"+a +b +c -a", "bc"},
		{"+a +b +c -c", "ab"},
		{"+a -a", ""},
		{"+a -a +a +b a", "ba"},
		{"+a +b +c a b c a", "bca"},
	}
	for _, test := range tests {
		l := newPolicy("lru")
		blocks := map[string]*block{}
		names := map[*block]string{}
		for word := range strings.FieldsSeq(test.script) {
			name := strings.TrimLeft(word, "+-")
			if blocks[name] == nil {
				blocks[name] = &block{}
				names[blocks[name]] = name
			}
			switch word[0] {
			case '+':
				l.insert(blocks[name])
			case '-':
				l.remove(blocks[name])
			default:
				l.touch(blocks[name], true)
			}
		}
		got := ""
		for b := range l.victims() {
			got += names[b]
		}
		if got != test.want {
			t.Errorf("%q: victims %q, want %q", test.script, got, test.want)
		}
		for b := range l.victims() {
			l.remove(b) // allowed while it runs
		}
		for range l.victims() {
			t.Errorf("%q: not empty", test.script)
		}
	}
}
