package cos_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/cos"
	"unistore/upstream/emulator"
)

func wantCode(t *testing.T, err error, code upstream.Code, words string) {
	t.Helper()
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %v with %q", err, code, words)
	}
}

func request(data string) upstream.PutRequest {
	return upstream.PutRequest{Body: strings.NewReader(data), Size: int64(len(data))}
}

// TestAppID: with it, names of buckets are given and told without; without it, in full, and others are refused.
func TestAppID(t *testing.T) {
	srv := emulate(t, nil)
	_, port, _ := net.SplitHostPort(srv.Addr)
	withID, err := cos.New(cos.Config{
		Name: "test", Endpoint: "http://" + net.JoinHostPort("cos.localhost", port), AppID: "1250000000",
		AccessKey: accessKey, SecretKey: config.NewSecret(secretKey), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer withID.Close()
	plain := open(t, srv.Addr)
	defer plain.Close()
	if err := withID.CreateBucket(t.Context(), "data"); err != nil {
		t.Fatal(err)
	}
	if err := plain.CreateBucket(t.Context(), "of-others-99"); err != nil {
		t.Fatal(err)
	}
	if _, err := withID.Put(t.Context(), upstream.Loc{Bucket: "data", Key: "k"}, request("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Stat(t.Context(), upstream.Loc{Bucket: "data-1250000000", Key: "k"}, upstream.StatOptions{}); err != nil {
		t.Error(err)
	}
	all, err := withID.ListBuckets(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "data" {
		t.Errorf("%+v, %v", all, err)
	}
	before := srv.Requests(emulator.Unknown) + srv.Requests("refused")
	for _, name := range []string{"data", "data-", "data-x1", "-1", "a.b-1", "a/b-1", ""} {
		_, err := plain.Stat(t.Context(), upstream.Loc{Bucket: name, Key: "k"}, upstream.StatOptions{})
		wantCode(t, err, upstream.Invalid, "NAME-APPID")
	}
	if srv.Requests(emulator.Unknown)+srv.Requests("refused") != before {
		t.Error("a bucket of no account was asked for")
	}
}

// TestCreateOnlyInABucketWithVersions: COS ignores the condition there, so it is refused, before or after the fact.
func TestCreateOnlyInABucketWithVersions(t *testing.T) {
	srv := emulate(t, func(q *emulator.Quirks) { q.Versioned = true })
	b := open(t, srv.Addr)
	defer b.Close()
	if err := b.CreateBucket(t.Context(), "data-1"); err != nil {
		t.Fatal(err)
	}
	loc := upstream.Loc{Bucket: "data-1", Key: "k"}
	create := request("new")
	create.IfNoneMatch = true
	_, err := b.Put(t.Context(), loc, create)
	wantCode(t, err, upstream.Unsupported, "versions")
	if _, err := b.Stat(t.Context(), loc, upstream.StatOptions{}); !errors.Is(err, upstream.NotExist) {
		t.Errorf("it was written: %v", err)
	}

	if err := b.CreateBucket(t.Context(), "other-1"); err != nil {
		t.Fatal(err)
	}
	q := emulator.DefaultQuirks(emulator.COS)
	srv.SetQuirks(q)
	loc.Bucket = "other-1"
	create = request("new")
	create.IfNoneMatch = true
	if _, err := b.Put(t.Context(), loc, create); err != nil { // what is known now: no versions
		t.Fatal(err)
	}
	q.Versioned = true
	srv.SetQuirks(q)
	create = request("newer")
	create.IfNoneMatch = true
	_, err = b.Put(t.Context(), loc, create)
	wantCode(t, err, upstream.Unavailable, "has versions now")
	create = request("newest")
	create.IfNoneMatch = true
	_, err = b.Put(t.Context(), loc, create)
	wantCode(t, err, upstream.Unsupported, "versions")
}

// TestGapsInPartNumbers: they are refused in words that say why, and what is left can still be completed.
func TestGapsInPartNumbers(t *testing.T) {
	b := open(t, emulate(t, nil).Addr)
	defer b.Close()
	if err := b.CreateBucket(t.Context(), "data-1"); err != nil {
		t.Fatal(err)
	}
	loc := upstream.Loc{Bucket: "data-1", Key: "k"}
	id, err := b.CreateUpload(t.Context(), loc, upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc, ID: id}
	var parts []upstream.Part
	for _, n := range []int{1, 3} {
		p, err := b.UploadPart(t.Context(), up, n, upstream.PartRequest{Body: strings.NewReader("x"), Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	_, err = b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts})
	wantCode(t, err, upstream.InvalidPart, "without gaps: 2 parts, the last of which is number 3")
	if _, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts[:1]}); err != nil {
		t.Error(err)
	}
	_, err = b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts})
	wantCode(t, err, upstream.NoUpload, "")
}

// TestConditionsThatCOSLacks: nothing is sent.
func TestConditionsThatCOSLacks(t *testing.T) {
	srv := emulate(t, nil)
	b := open(t, srv.Addr)
	defer b.Close()
	req := request("x")
	req.IfMatch = "e"
	_, err := b.Put(t.Context(), upstream.Loc{Bucket: "data-1", Key: "k"}, req)
	wantCode(t, err, upstream.Unsupported, "If-Match")
	if n := srv.Requests(emulator.PutObject); n != 0 {
		t.Errorf("%d requests", n)
	}
	if left, _ := io.ReadAll(req.Body); string(left) != "x" {
		t.Error("the body was read")
	}
}
