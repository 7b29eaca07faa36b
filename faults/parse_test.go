package faults

import (
	"encoding/json"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type params map[string]string

func TestParse(t *testing.T) {
	tests := []struct {
		name   string
		params params
		want   Fault
	}{
		{UpstreamLatency, params{"upstream": "aws", "delay": "200ms"},
			Fault{Upstream: "aws", Delay: 200 * time.Millisecond}},
		{UpstreamBandwidth, params{"rate": "80MB/s", "total": "1GiB/s"}, Fault{Rate: 80e6, Total: 1 << 30}},
		{UpstreamBandwidth, params{"rate": "1.5KiB"}, Fault{Rate: 1536}},
		{UpstreamBandwidth, params{"rate": "1000000"}, Fault{Rate: 1e6}},
		{UpstreamError, params{"status": "503", "probability": "0.1", "seed": "18446744073709551615"},
			Fault{Status: 503, Probability: 0.1, Seed: math.MaxUint64}},
		{UpstreamReset, params{"after": "64KiB", "skip": "1", "count": "2", "operation": "Open"},
			Fault{After: 65536, Skip: 1, Count: 2, Operation: "Open"}},
		{UpstreamCorrupt, params{"bucket": "b*", "key": "x/*"}, Fault{Bucket: "b*", Key: "x/*"}},
		{UpstreamCorrupt, params{"match": "b*/x/*"}, Fault{Bucket: "b*", Key: "x/*"}},
		{UpstreamCorrupt, params{"match": "b*"}, Fault{Bucket: "b*"}},
		{CacheWriteError, params{"error": "ENOSPC"}, Fault{Error: "ENOSPC"}},
		{UploadLastPartFirst, nil, Fault{}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.name, tt.params)
		if err != nil {
			t.Errorf("%s %v: %v", tt.name, tt.params, err)
			continue
		}
		tt.want.Name = tt.name
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s %v: %s", tt.name, tt.params, d)
		}
		if err := New(nil).Put(got); err != nil {
			t.Errorf("Put refuses what Parse made: %v", err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name   string
		params params
		names  []string // must be in the message
	}{
		{"upstream.slow", nil, []string{"upstream.slow", UpstreamLatency}},
		{UpstreamLatency, params{"delya": "1s"}, []string{UpstreamLatency, `"delya"`, "delay"}},
		{UpstreamLatency, params{"delay": "200"}, []string{"delay", `"200"`, "200ms"}},
		{UpstreamLatency, params{"delay": "-1s"}, []string{"delay", "negative"}},
		{UpstreamLatency, nil, []string{"needs delay"}},
		{UpstreamLatency, params{"delay": "1s", "rate": "1"}, []string{"no parameter rate"}},
		{UpstreamBandwidth, nil, []string{"needs rate or total"}},
		{UpstreamBandwidth, params{"rate": "80Mbit"}, []string{"rate", `"80Mbit"`, "MiB"}},
		{UpstreamBandwidth, params{"rate": "MB/s"}, []string{"rate", `"MB"`}},
		{UpstreamBandwidth, params{"rate": "-5MB/s"}, []string{"negative"}},
		{UpstreamBandwidth, params{"total": "inf"}, []string{"total"}},
		{UpstreamBandwidth, params{"total": "NaN"}, []string{"total"}},
		{UpstreamBandwidth, params{"total": "9e99TB"}, []string{"total"}},
		{UpstreamReset, params{"after": "10/s"}, []string{"after", `"10/s"`}},
		{UpstreamError, params{"status": "200"}, []string{"status 200"}},
		{UpstreamError, params{"status": "x"}, []string{"status", `"x"`}},
		{UpstreamError, params{"probability": "1.1"}, []string{"probability"}},
		{UpstreamError, params{"probability": "NaN"}, []string{"probability"}},
		{UpstreamError, params{"probability": "ten"}, []string{"probability", `"ten"`}},
		{UpstreamError, params{"count": "-1"}, []string{"count"}},
		{UpstreamError, params{"skip": "1.5"}, []string{"skip", `"1.5"`}},
		{UpstreamError, params{"seed": "-1"}, []string{"seed", `"-1"`}},
		{UpstreamError, params{"key": "[a"}, []string{"key", "[a"}},
		{UpstreamError, params{"bucket": "[]"}, []string{"bucket"}},
		{CacheWriteError, params{"error": "EWHAT"}, []string{"EWHAT", "ENOSPC"}},
	}
	for _, tt := range tests {
		_, err := Parse(tt.name, tt.params)
		if err == nil {
			t.Errorf("%s %v is accepted", tt.name, tt.params)
			continue
		}
		for _, n := range tt.names {
			if !strings.Contains(err.Error(), n) {
				t.Errorf("%s %v: %q does not name %s", tt.name, tt.params, err, n)
			}
		}
	}
}

func TestEveryNameHasARule(t *testing.T) {
	for _, name := range Names() {
		f := Fault{Name: name}
		switch name {
		case UpstreamLatency:
			f.Delay = 1
		case UpstreamBandwidth:
			f.Total = 1
		}
		if err := New(nil).Put(f); err != nil {
			t.Error(err)
		}
	}
	if len(Names()) != 15 { // the names of the contract
		t.Errorf("%d names: %v", len(Names()), Names())
	}
}

func TestErrno(t *testing.T) {
	for name, want := range map[string]syscall.Errno{"": syscall.EIO, "EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC} {
		if got := (Fault{Error: name}).Errno(); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestStatusJSON(t *testing.T) {
	s := New(nil)
	put(t, s, Fault{Name: UpstreamLatency, Upstream: "aws", Delay: 200 * time.Millisecond, Seed: math.MaxUint64})
	put(t, s, Fault{Name: UpstreamBandwidth, Rate: 80e6, Probability: 0.25})
	s.Fire(UpstreamLatency, Scope{Upstream: "aws"})
	b, err := json.Marshal(s.List())
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"name":"upstream.bandwidth","probability":0.25,"rate":80000000,"matched":0,"fired":0},` +
		`{"name":"upstream.latency","upstream":"aws","seed":18446744073709551615,"delay":"200ms","matched":1,"fired":1}]`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back []Status
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.List(), back); d != "" {
		t.Error(d)
	}
}

func TestFaultFromJSON(t *testing.T) {
	var f Fault
	if err := json.Unmarshal([]byte(`{"delay":"1s","upstream":"aws","count":2,"match":"b/k*"}`), &f); err != nil {
		t.Fatal(err)
	}
	want := Fault{Delay: time.Second, Upstream: "aws", Count: 2, Bucket: "b", Key: "k*"}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{
		`{"delya":"1s"}`, `{"delay":200}`, `{"delay":true}`, `{"delay":null}`, `{"count":{}}`, `[]`, `"x"`,
		`{"name":"upstream.slow"}`, `{"name":"upstream.latency"}`, `{"probability":2}`, `{"key":"[a"}`, `{`,
	} {
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("a refused document changed the fault: %s", d)
	}
}
