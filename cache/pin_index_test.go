package cache

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"unistore/meta"
)

// pinScript runs words on an index of one version whose blocks are a, b, c ... of 4 pages:
//
//	+a:2   a comes with its first 2 pages     -a   a goes
//	q>a:h  q holds a hard (s: soft)           q<a  q lets go of a       q.  q ends
//	a?3    a reader has the first 3 pages of a promised                 a!  that reader leaves
//	a~2    2 more pages of a are claimed      a=   they have arrived    a^  they will not arrive; no user is left
//	a      a is read
type pinScript struct {
	x      index
	v      *version
	places map[string]*place // with a promise
}

func newPinScript() *pinScript {
	s := &pinScript{x: newIndex(blockMath{4}, newPolicy("lru")), places: map[string]*place{}}
	s.v = s.x.acquireVersion(versionID{1}, 26*4*page)
	return s
}

func (s *pinScript) key(name byte) placeKey { return placeKey{s.v, uint32(name - 'a')} }

func firstPages(n byte) meta.Pages { return meta.Pages{1<<(n-'0') - 1} }

func (s *pinScript) run(word string) {
	if q, rest, ok := strings.Cut(word, ">"); ok {
		l := s.x.pins.leases[q]
		if l == nil {
			l = s.x.newLease(q, time.Unix(1, 0))
		}
		s.x.hold(l, s.x.placeOf(s.key(rest[0])), map[byte]PinKind{'h': PinHard, 's': PinSoft}[rest[2]])
		return
	}
	if q, rest, ok := strings.Cut(word, "<"); ok {
		s.x.unhold(s.x.pins.leases[q], s.x.pins.places[s.key(rest[0])])
		return
	}
	if q, ok := strings.CutSuffix(word, "."); ok {
		l := s.x.pins.leases[q]
		s.x.end(l)
		for _, p := range slices.SortedFunc(maps.Keys(l.places), func(a, b *place) int { return int(a.index) - int(b.index) }) {
			s.x.unhold(l, p)
		}
		return
	}
	s.block(word)
}

func (s *pinScript) block(word string) {
	name := strings.TrimLeft(word, "+-")[0]
	b := s.v.blocks.get(s.key(name).index)
	switch word = strings.Replace(word, string(name), "", 1); word[:min(1, len(word))] {
	case "+":
		b = &block{v: s.v, index: s.key(name).index}
		set := firstPages(word[2])
		b.setPages(&set)
		s.x.add(b)
	case "-":
		s.x.remove(b)
	case "?":
		s.places[string(name)] = s.x.pins.places[s.key(name)]
		set := firstPages(word[1])
		s.x.promise(s.places[string(name)], &set)
	case "!":
		s.x.leavePlace(s.places[string(name)])
	case "~":
		b.use = &blockUse{flight: make([]*fill, 4)}
		for p := range int(word[1] - '0') {
			b.use.flight[b.count()+p] = &fill{}
			b.use.flying++
		}
		s.x.claimed(b)
	case "=", "^":
		for p, f := range b.use.flight {
			if f != nil && word == "=" {
				b.setValid(p)
			}
		}
		b.use = nil
		if b.marks&markUnsettled != 0 {
			s.x.resettle(b)
		}
	default:
		s.x.touch(b, true)
	}
}

// state says what may go, in that order, what may not, the pages charged, and the places without a block.
func (s *pinScript) state() string {
	name := func(b *block) string { return string(rune('a' + b.index)) }
	var victims, hard []string
	for b := range s.x.victims() {
		victims = append(victims, name(b))
	}
	for b := range s.x.all() {
		if b.pinned() == PinHard {
			hard = append(hard, name(b))
		}
	}
	slices.Sort(hard)
	out := fmt.Sprintf("%s|%s|%d", strings.Join(victims, ""), strings.Join(hard, ""), s.x.pins.hard/page)
	if s.x.pins.waiting > 0 {
		out += fmt.Sprintf("|%d", s.x.pins.waiting)
	}
	return out
}

func TestPinsOfAnIndex(t *testing.T) {
	tests := []struct{ script, want string }{
		{"+a:1 +b:2 +c:4", "abc||0"},
		{"+a:1 +b:2 +c:4 q>a:s", "bca||0"},
		{"+a:1 +b:2 +c:4 q>b:s q>a:s b", "cab||0"},
		{"+a:1 +b:2 +c:4 q>b:h", "ac|b|2"},
		{"+a:1 +b:2 +c:4 q>b:h q>b:s", "ac|b|2"}, // no softer
		{"+a:1 +b:2 +c:4 q>b:s q>b:h", "ac|b|2"},
		{"+a:1 +b:2 +c:4 q>b:s r>b:h", "ac|b|2"}, // hard beats soft
		{"+a:1 +b:2 +c:4 q>b:s r>b:h r<b", "acb||0"},
		{"+a:1 +b:2 +c:4 q>b:s r>b:h q<b", "ac|b|2"},
		{"+a:1 +b:2 +c:4 q>b:h r>b:h q<b", "ac|b|2"}, // until the last one
		{"+a:1 +b:2 +c:4 q>b:h r>b:h q. r.", "acb||0"},
		{"+a:1 +b:2 +c:4 q>b:h q>c:h q>a:s r>a:h q.", "bc|a|1"},
		{"+a:1 q>a:h a", "|a|1"},
		{"+a:1 q>a:h -a", "||0"}, // the pin goes with its block
		{"+a:1 q>a:h -a +a:2", "a||0"},
		{"+a:1 q>a:s -a +a:2", "a||0"},
		{"q>a:h a?3", "||3|1"}, // promised, not there yet
		{"q>a:h a?3 +a:1", "|a|3"},
		{"q>a:h a?3 +a:1 a!", "|a|1"},
		{"q>a:h a?3 a!", "||0"},
		{"q>a:h a?3 q.", "||0"},
		{"q>a:h a?3 q. a!", "||0"},
		{"q>a:h a?3 q. +a:2 a!", "a||0"},
		{"q>a:h a?3 q. +a:2 r>a:h a!", "|a|2"}, // the reader's promise was of the old place
		{"q>a:s a?3", "||0|1"},
		{"q>a:s a?3 r>a:h", "||3|1"},
		{"q>a:h a?1 +a:0 a~2", "|a|2"}, // claimed beyond the promise
		{"q>a:h a?1 +a:0 a~2 a!", "|a|2"},
		{"q>a:h a?1 +a:0 a~2 a! a=", "|a|2"},
		{"q>a:h a?1 +a:0 a~2 a! a^", "|a|0"},
		{"+a:1 a~3 q>a:h", "|a|4"},
		{"+a:1 a~3 q>a:h a^", "|a|1"},
		{"+a:1 a~3 q>a:h -a", "||0"},
		{"q>a:h a?3 +a:2 -a", "||3|1"}, // bad, and fetched again for the reader
		{"q>a:h a?3 +a:2 -a +a:3 a!", "|a|3"},
		{"+a:1 +b:1 q>a:s q>b:s q.", "ab||0"},
	}
	for _, test := range tests {
		s := newPinScript()
		for word := range strings.FieldsSeq(test.script) {
			s.run(word)
			checkPins(t, &s.x, test.script)
		}
		if got := s.state(); got != test.want {
			t.Errorf("%q: %q, want %q", test.script, got, test.want)
		}
		for _, l := range slices.Collect(maps.Values(s.x.pins.leases)) {
			s.run(l.query + ".")
		}
		checkPins(t, &s.x, test.script)
		if p := &s.x.pins; p.hard != 0 || len(p.places) != 0 || p.waiting != 0 || p.blocks[PinHard]+p.blocks[PinSoft] != 0 {
			t.Errorf("%q: after the last lease: %+v", test.script, *p)
		}
	}
}

// checkPins checks what must hold of pins at any moment.
func checkPins(t testing.TB, x *index, when string) {
	t.Helper()
	bad := func(format string, args ...any) { t.Errorf("%s: "+format, append([]any{when}, args...)...) }
	var hard, waiting, holds int64
	var count [PinHard + 1]int
	for k, p := range x.pins.places {
		if k != p.placeKey || len(p.holds) == 0 {
			bad("place %d: %d holds, key %d", k.index, len(p.holds), p.index)
		}
		for _, h := range p.holds {
			holds++
			if _, ok := h.lease.places[p]; !ok || h.kind < PinSoft || h.kind > PinHard {
				bad("place %d: a hold of kind %d that its lease does not know", k.index, h.kind)
			}
		}
		hard += p.charge
		if p.charge != 0 && p.kind() != PinHard {
			bad("place %d: charged %d, not hard", k.index, p.charge)
		}
		if p.b == nil {
			waiting++
			if p.readers == 0 && p.want != nil {
				bad("place %d: waits for nobody", k.index)
			}
			continue
		}
		if p.b.v != p.v || p.b.index != p.index || p.b.dead || p.b.pinned() != p.kind() {
			bad("place %d: block %d is %v, holds say %v", k.index, p.b.index, p.b.pinned(), p.kind())
		}
		if p.kind() == PinHard && p.charge < x.bytes(p.b) {
			bad("place %d: charged %d for %d bytes", k.index, p.charge, x.bytes(p.b))
		}
	}
	for _, l := range x.pins.leases {
		holds -= int64(len(l.places))
		for p := range l.places {
			if !slices.ContainsFunc(p.holds, func(h hold) bool { return h.lease == l }) {
				bad("lease %q has a place without its hold", l.query)
			}
		}
	}
	if holds != 0 {
		bad("%d holds more than leases know", holds)
	}
	blocks := 0
	for b := range x.all() {
		count[b.pinned()]++
		blocks++
		if p := x.pins.places[placeKey{b.v, b.index}]; b.pinned() != PinNone && (p == nil || p.b != b) {
			bad("block %d is pinned without a place", b.index)
		}
	}
	listed := map[PinKind]int{}
	for b := range x.policy.victims() {
		listed[b.pinned()]++
	}
	for b := range x.soft.victims() {
		listed[b.pinned()+10]++
	}
	want := map[PinKind]int{PinNone: count[PinNone], PinSoft + 10: count[PinSoft]}
	maps.DeleteFunc(want, func(_ PinKind, n int) bool { return n == 0 })
	if !maps.Equal(listed, want) {
		bad("lists hold %v, want %v", listed, want)
	}
	if hard != x.pins.hard || waiting != int64(x.pins.waiting) || count[PinSoft] != x.pins.blocks[PinSoft] || count[PinHard] != x.pins.blocks[PinHard] {
		bad("counted hard %d waiting %d %v, kept %d %d %v", hard, waiting, count, x.pins.hard, x.pins.waiting, x.pins.blocks)
	}
}
