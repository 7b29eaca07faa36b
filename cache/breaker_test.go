package cache

import (
	"strings"
	"testing"
	"time"
)

// TestBreaker plays scripts. Each word is a step, with the time going on by a second before words that start with +:
//
//	r w      a read, a write works       R W      fails       R*4      four times
//	trip     the read side is tripped    records  the side of the records is
//	ok bad   a probe of all sides that are off works or fails
//
// and then, after a slash, what must be: "-" nothing off, or the sides; "!" that a probe is due.
func TestBreaker(t *testing.T) {
	tests := []struct{ name, script string }{
		{"works", "r w r w / -"},
		{"four failures in a row", "R*4 r / -"},
		{"five", "R*5 / read"},
		{"five with successes of the other side between", "R w R w R w R w R / read"},
		{"five of writes", "W*5 / write"},
		{"five in all", "R*3 W*2 / -"},
		{"one in four", "R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 R r*3 / - R / read"},
		{"one in eight", "R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R r*7 R / -"},
		{"both", "R*5 W*5 / read,write"},
		{"probe after a second", "R*5 / read + / read!"},
		{"healed", "R*5 + ok / - R*4 / - R / read"},
		{"backs off", "R*5 + bad / read + / read + / read! bad + + + / read + / read! ok / -"},
		{"back soon: waits longer", "R*5 + ok / - R*5 + / read + / read! ok / - R*5 + + + / read + / read!"},
		{"back late: waits as at first", "R*5 + ok +*65 / - R*5 + / read!"},
		{"tripped at once", "trip / read trip / read + ok / -"},
		{"another side meanwhile is probed soon", "R*5 + bad + + bad / read records + / read,records! ok / -"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { playBreaker(t, test.script) })
	}
}

func playBreaker(t *testing.T, script string) {
	b := breaker{first: time.Second}
	now := time.Unix(1000, 0)
	sides := map[byte]side{'r': sideRead, 'R': sideRead, 'w': sideWrite, 'W': sideWrite}
	step := func(word string) {
		switch word {
		case "+":
			now = now.Add(time.Second)
		case "trip":
			b.trip(sideRead, now)
		case "records":
			b.trip(sideRecords, now)
		case "ok", "bad":
			b.probed(b.off, word == "ok", now)
		default:
			if s := sides[word[0]]; b.outcome(s, word == strings.ToUpper(word)) && b.trip(s, now) != s {
				t.Errorf("%v tripped twice", s)
			}
		}
	}
	words := strings.Fields(script)
	for i := 0; i < len(words); i++ {
		if words[i] != "/" {
			word, times, _ := strings.Cut(words[i], "*")
			n := 1
			if times != "" {
				n = 0
				for _, d := range times {
					n = 10*n + int(d-'0')
				}
			}
			for range n {
				step(word)
			}
			continue
		}
		i++
		got := b.off.String()
		if got == "" {
			got = "-"
		}
		if b.due(now) {
			got += "!"
		}
		if got != words[i] {
			t.Errorf("after %v: %s, want %s", words[:i-1], got, words[i])
		}
	}
}

func TestBreakerWaitIsBounded(t *testing.T) {
	b := breaker{first: time.Second}
	now := time.Unix(1000, 0)
	b.trip(sideRead, now)
	for range 100 {
		if wait := b.next.Sub(now); wait <= 0 || wait > probeGrowth*time.Second {
			t.Fatalf("a probe in %v", wait)
		}
		now = b.next
		b.probed(b.off, false, now)
	}
}
