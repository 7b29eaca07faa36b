package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"
)

// beginUpload begins a multipart upload with one part of n bytes and returns its id.
func (s *serving) beginUpload(bucket, key string, n int) string {
	s.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	send := func(method, query string, body io.Reader) []byte {
		s.t.Helper()
		req, err := http.NewRequestWithContext(s.t.Context(), method, s.s3+"/"+bucket+"/"+key+"?"+query, body)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			s.t.Fatalf("%s %s: %d %s, %v", method, query, resp.StatusCode, text, err)
		}
		return text
	}
	var begun struct{ UploadId string }
	if err := xml.Unmarshal(send("POST", "uploads", nil), &begun); err != nil {
		s.t.Fatal(err)
	}
	send("PUT", "partNumber=1&uploadId="+begun.UploadId, bytes.NewReader(make([]byte, n)))
	return begun.UploadId
}

func TestUploadsCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	s := startServing(t, nil, "--set", "anonymous=true", "--set", "cache.reserve_free=0", "--cache-size", "64MiB")
	s.waitReady()
	s.putObjects("one")
	s.putObjects("two")
	id := s.beginUpload("one", "a/1", 2048)
	s.beginUpload("one", "a%0Ab", 1024)
	s.beginUpload("one", "c", 1024)
	s.beginUpload("two", "c", 1024)
	steps := []struct {
		args []string
		code int
		want []string // in the output, of both kinds
	}{
		{[]string{"list"}, exitDone, []string{"AGE  KIND    STATE  PARTS  SIZE   OBJECT", "client  open   1      2 KiB  s3://one/a/1", `s3://one/"a\nb"`, "s3://two/c", id}},
		{[]string{"list", "--bucket", "one", "--prefix", "a/", "--json"}, exitDone, []string{
			`"kind":"client","bucket":"one","key":"a/1","id":"` + id + `","upstream":"local","state":"open","started":"`, `"parts":1,"bytes":2048}]`, `"more":false`}},
		{[]string{"list", "--older-than", "1h"}, exitDone, []string{"no unfinished uploads\n"}},
		{[]string{"list", "--id", id}, exitDone, []string{"s3://one/a/1"}},
		{[]string{"abort", "--older-than", "1h"}, exitDone, []string{"aborted 0 uploads\n"}},
		{[]string{"abort", "--id", id}, exitDone, []string{"aborted 1 upload\n"}},
		{[]string{"abort", "--id", id}, exitFailed, []string{"this node knows no unfinished upload of this id"}},
		{[]string{"abort", "--bucket", "one", "--prefix", "a", "--json"}, exitDone, []string{`{"aborted":1,"skipped":0}`}},
		{[]string{"abort", "--older-than", "0s"}, exitDone, []string{"aborted 2 uploads\n"}},
		{[]string{"list"}, exitDone, []string{"no unfinished uploads\n"}},

		{nil, exitUsage, []string{"a command is missing: list or abort"}},
		{[]string{"abort"}, exitUsage, []string{"say which uploads"}},
		{[]string{"list", "--prefix", "a/"}, exitUsage, []string{"--prefix needs --bucket"}},
		{[]string{"list", "--older-than", "yesterday"}, exitUsage, []string{"invalid argument"}},
		{[]string{"abort", "--older-than=-1s"}, exitUsage, []string{"must not be negative"}},
		{[]string{"list", "--bucket", "UPPER"}, exitDone, []string{"no unfinished uploads"}},
		{[]string{"list", "--id", "bad"}, exitFailed, []string{"specified upload does not exist"}},
		{[]string{"list", "--admin", "http://127.0.0.1:1"}, exitFailed, []string{"the admin listener does not answer"}},
	}
	for _, step := range steps {
		args := append([]string{"uploads", "--admin", s.admin}, step.args...)
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
