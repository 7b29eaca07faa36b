package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestWarmAndQueryCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	s := startServing(t, nil, "--set", "anonymous=true", "--set", "cache.reserve_free=0", "--cache-size", "64MiB")
	s.waitReady()
	s.putObjects("one", "a/1", "a/2", "b")
	steps := []struct {
		args []string
		code int
		want []string // in the output, of both kinds
	}{
		{[]string{"query", "list"}, exitDone, []string{"ID ACCESS KEY STATE OBJECTS BYTES"}},
		{[]string{"warm", "s3://one/a/", "--query", "q", "--pin", "hard", "--wait"}, exitDone, []string{"query q: 195.3 KiB of 195.3 KiB in 2 objects, 0 errors, took"}},
		{[]string{"warm", "s3://one/b", "--range", "0-99", "--range=-1", "--query", "r", "--wait", "--json"}, exitDone, []string{`"id":"r"`, `"state":"ready"`, `"bytes_total":101`}},
		{[]string{"warm", "s3://one", "--query", "all"}, exitDone, []string{"query all: 3 objects, 293 KiB, of which 293 KiB are there already"}},
		{[]string{"warm", "s3://one/", "--query", "q"}, exitFailed, []string{"there is a query of this name"}},
		{[]string{"warm", "s3://one/none", "--query", "n", "--wait"}, exitFailed, []string{"rejected: s3://one/none: there is nothing below the prefix", "0 B of 0 B"}},
		{[]string{"warm", "s3://none/x"}, exitFailed, []string{"rejected: s3://none/x: there is no such bucket"}},
		{[]string{"query", "show", "q"}, exitDone, []string{"state ready", "there 195.3 KiB of 195.3 KiB (100.0 %)", "pinned 200 KiB (hard)"}},
		{[]string{"query", "list", "--json"}, exitDone, []string{`"id":"q"`, `"id":"all"`}},
		{[]string{"query", "release", "q"}, exitDone, []string{"state released", "pinned 0 B (hard)"}},
		{[]string{"query", "release", "q"}, exitDone, []string{"state released"}},
		{[]string{"query", "show", "never"}, exitFailed, []string{"there is no such query"}},

		{[]string{"query"}, exitUsage, []string{"a command is missing: list, show or release"}},
		{[]string{"query", "show"}, exitUsage, []string{"accepts 1 arg"}},
		{[]string{"warm"}, exitUsage, []string{"requires at least 1 arg"}},
		{[]string{"warm", "one/a"}, exitUsage, []string{"is not s3://BUCKET/PREFIX"}},
		{[]string{"warm", "s3:///a"}, exitUsage, []string{"is not s3://BUCKET/PREFIX"}},
		{[]string{"warm", "s3://one/", "--range", "0-1"}, exitUsage, []string{"names no object"}},
		{[]string{"warm", "s3://one/b", "--range", "1-0"}, exitFailed, []string{"is no range"}},
		{[]string{"warm", "s3://one/b", "--pin", "firm"}, exitFailed, []string{"pin is hard, soft or none"}},
		{[]string{"warm", "s3://one/b", "--ttl", "0s"}, exitUsage, []string{"--ttl is at least 1s"}},
		{[]string{"warm", "s3://one/b", "--deadline", "-1s"}, exitUsage, []string{"--deadline is at least 1s"}},
	}
	for _, step := range steps {
		args := append(step.args, "--admin", s.admin)
		code, out, errOut := runCommand(t, args...)
		for _, want := range step.want {
			if flat := strings.Join(strings.Fields(out+errOut), " "); code != step.code || !strings.Contains(flat, want) {
				t.Errorf("%v: %d, want %d\n%s%s\nwant %q", step.args, code, step.code, out, errOut, want)
			}
		}
		if strings.Contains(strings.Join(step.args, " "), "--json") && !json.Valid([]byte(out)) {
			t.Errorf("%v: no JSON: %s", step.args, out)
		}
	}
}

func TestWarmNote(t *testing.T) {
	s := queryState{Resident: 3 << 20, Total: 9 << 20, Files: 4, Errors: 1}
	if got, want := warmNote(s, 2<<20, 2*time.Second), " 3 MiB of 9 MiB, 4 objects, 1 MiB/s, 6s left, 1 error"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.Errors = 0
	if got, want := warmNote(s, 0, 0), " 3 MiB of 9 MiB, 4 objects"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
