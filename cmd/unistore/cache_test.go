package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// putObjects writes and reads objects of 100,000 bytes through the gateway, whose S3 side is anonymous.
func (s *serving) putObjects(bucket string, keys ...string) {
	s.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	do := func(method, path string, body io.Reader) {
		s.t.Helper()
		req, err := http.NewRequestWithContext(s.t.Context(), method, s.s3+path, body)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			s.t.Fatalf("%s %s: %d, %v", method, path, resp.StatusCode, err)
		}
	}
	do("PUT", "/"+bucket, nil)
	for _, key := range keys {
		do("PUT", "/"+bucket+"/"+key, bytes.NewReader(make([]byte, 100_000)))
		do("GET", "/"+bucket+"/"+key, nil)
	}
}

func TestCacheCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	s := startServing(t, nil, "--set", "anonymous=true", "--set", "cache.reserve_free=0", "--cache-size", "64MiB")
	s.waitReady()
	s.putObjects("one", "a/1", "a/2", "b")
	s.putObjects("two", "a/1")
	// What is served is counted after the client has it.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, out, _ := runCommand(t, "cache", "--admin", s.admin, "stats"); strings.Contains(out, "1.00 of what was served") {
			break
		}
	}
	steps := []struct {
		args []string
		code int
		want []string // in the output, of both kinds
	}{
		{[]string{"stats"}, exitDone, []string{"resident         400 KiB (0.6 %), 4 blocks of 4 versions", "reads            miss 4; 0.0 % hits",
			"fetched          390.6 KiB, 1.00 of what was served", "  *              390.6 KiB fetched", "errors           none"}},
		{[]string{"stats", "--bucket", "one", "--prefix", "a/"}, exitDone, []string{"selected         200 KiB in 2 blocks of 2 objects in s3://one/a/ (195.3 KiB)"}},
		{[]string{"stats", "--json"}, exitDone, []string{`"resident_bytes":409600`, `"hit_ratio":0,`}},
		{[]string{"stats", "--bucket", "one", "--json"}, exitDone, []string{`"usage":{"bucket":"one","prefix":"","objects":3,`}},
		{[]string{"verify"}, exitDone, []string{"400 KiB in 4 blocks checked; dropped: 0 corrupt, 0 unreadable\n"}},
		{[]string{"verify", "--bucket", "two", "--json"}, exitDone, []string{`{"blocks":1,"pages":2,"bytes":102400,"corrupt":0,"unreadable":0,"skipped":0}`}},
		{[]string{"drop", "--bucket", "one", "--prefix", "a/"}, exitDone, []string{"dropped 200 KiB in 2 blocks of 2 objects\n"}},
		{[]string{"drop", "--bucket", "two", "--json"}, exitDone, []string{`{"objects":1,"blocks":1,"bytes":102400}`}},
		{[]string{"drop"}, exitDone, []string{"dropped 100 KiB in 1 block of 1 object\n"}},
		{[]string{"drop"}, exitDone, []string{"dropped 0 B in 0 blocks of 0 objects\n"}},

		{nil, exitUsage, []string{"a command is missing: stats, verify or drop"}},
		{[]string{"drop", "everything"}, exitUsage, []string{`unknown command "everything"`}},
		{[]string{"drop", "--prefix", "a/"}, exitUsage, []string{"--prefix needs --bucket"}},
		{[]string{"drop", "--force"}, exitUsage, []string{"unknown flag"}},
		{[]string{"drop", "--admin", "http://127.0.0.1:1"}, exitFailed, []string{"the admin listener does not answer"}},
		{[]string{"verify", "--admin", "http://127.0.0.1:1"}, exitFailed, []string{"the admin listener does not answer"}},
	}
	for _, step := range steps {
		args := append([]string{"cache", "--admin", s.admin}, step.args...)
		code, out, errOut := runCommand(t, args...)
		for _, want := range step.want {
			if code != step.code || !strings.Contains(out+errOut, want) {
				t.Errorf("%v: %d, want %d\n%s%s\nwant %q", step.args, code, step.code, out, errOut, want)
			}
		}
		if strings.Contains(strings.Join(step.args, " "), "--json") && !json.Valid([]byte(out)) {
			t.Errorf("%v: no JSON: %s", step.args, out)
		}
	}
}

func TestCacheVerifyAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		status, code int
		want         string
	}{
		{"all is well", "{\"done\":1,\"total\":2,\"bad\":0}\n{\"result\":{\"blocks\":1,\"bytes\":2048}}\n", 200, exitDone, "2 KiB in 1 block checked; dropped: 0 corrupt"},
		{"corrupt", "{\"result\":{\"blocks\":1,\"bytes\":1,\"corrupt\":1}}\n", 200, exitFailed, "dropped: 1 corrupt, 0 unreadable"},
		{"unreadable", "{\"result\":{\"unreadable\":2}}", 200, exitFailed, "0 corrupt, 2 unreadable"},
		{"cut", "{\"done\":1,\"total\":2,\"bad\":0}\n", 200, exitFailed, "not finished"},
		{"nothing", "", 200, exitFailed, "not finished"},
		{"failed on the way", "{\"done\":1,\"total\":2,\"bad\":0}\n{\"error\":{\"code\":\"x\",\"message\":\"the disk is gone\"}}\n", 200, exitFailed, "the disk is gone"},
		{"refused", `{"error":{"code":"Conflict","message":"already"}}`, 409, exitFailed, "already"},
		{"no JSON", "<html>", 200, exitFailed, "no JSON"},
		{"no JSON, refused", "<html>", 502, exitFailed, "answered 502"},
		{"cannot now", `{"error":{"code":"x","message":"not now"}}`, 503, exitFailed, "not now"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer server.Close()
			code, out, errOut := runCommand(t, "cache", "verify", "--admin", server.URL)
			if code != tt.code || !strings.Contains(out+errOut, tt.want) {
				t.Errorf("%d %s%s, want %d and %q", code, out, errOut, tt.code, tt.want)
			}
			if tt.status == 503 { // neither is a drop that was refused a drop of nothing
				if code, out, _ := runCommand(t, "cache", "drop", "--admin", server.URL); code != exitFailed || out != "" {
					t.Errorf("drop: %d %s", code, out)
				}
			}
		})
	}
}

func TestProgress(t *testing.T) {
	at := time.Unix(0, 0).Add(time.Hour)
	var out bytes.Buffer
	b := &progress{out: &out, now: func() time.Time { return at }}
	for i := range 21 {
		b.update(int64(i), 20, "")
		at = at.Add(time.Second)
	}
	b.update(0, 0, "nothing to do")
	b.end()
	if want := "  0 %\n 25 %\n 50 %\n 75 %\n100 %\n"; out.String() != want {
		t.Errorf("lines %q, want %q", out.String(), want)
	}
	out.Reset()
	b = &progress{out: &out, terminal: true}
	b.update(1, 4, ", 3 bad")
	b.end()
	want := "\r\x1b[K[" + strings.Repeat("#", 10) + strings.Repeat(" ", 30) + "]  25 %, 3 bad\r\x1b[K"
	if out.String() != want {
		t.Errorf("bar %q, want %q", out.String(), want)
	}
}
