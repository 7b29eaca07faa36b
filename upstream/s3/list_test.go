package s3

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unistore/config"
	"unistore/upstream"
)

func listing(encoding, token string, names ...string) string {
	var s strings.Builder
	s.WriteString("<ListBucketResult>" + encoding)
	if token != "" {
		s.WriteString("<IsTruncated>true</IsTruncated><NextContinuationToken>" + token + "</NextContinuationToken>")
	}
	for _, n := range names {
		if strings.HasSuffix(n, "|") {
			s.WriteString("<CommonPrefixes><Prefix>" + strings.TrimSuffix(n, "|") + "</Prefix></CommonPrefixes>")
		} else {
			s.WriteString("<Contents><Key>" + n + `</Key><ETag>"e-2"</ETag><Size>7</Size></Contents>`)
		}
	}
	s.WriteString("</ListBucketResult>")
	return s.String()
}

const encodedURL = "<EncodingType>url</EncodingType>"

func TestListDecodesNames(t *testing.T) {
	for _, tt := range []struct {
		name, doc string
		keys      []string
		fails     bool
	}{
		{"encoded", listing(encodedURL, "", "a+b%2Bc", "d%2525%0A", "%C3%BC"), []string{"a b+c", "d%25\n", "ü"}, false},
		{"not encoded", listing("", "", "a+b%2Bc", "&#xFC;"), []string{"a+b%2Bc", "ü"}, false},
		{"badly encoded", listing(encodedURL, "", "%zz"), nil, true},
		{"cut", listing(encodedURL, "", "a")[:60], nil, true},
		{"goes on nowhere", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, func(w http.ResponseWriter, r *http.Request) {
				if q := r.URL.Query(); q.Get("encoding-type") != "url" || q.Get("prefix") != "p+ /" || q.Get("max-keys") != "10" {
					t.Errorf("asked %s", r.URL)
				}
				_, _ = io.WriteString(w, tt.doc)
			})
			page, err := b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", Prefix: "p+ /", MaxKeys: 10})
			if tt.fails {
				wantCode(t, err, upstream.Unavailable)
				return
			}
			var keys []string
			for _, o := range page.Objects {
				keys = append(keys, o.Key)
				if o.ETag != "e-2" || o.Size != 7 || o.HeadersKnown {
					t.Errorf("object %+v", o)
				}
			}
			if err != nil || !slices.Equal(keys, tt.keys) {
				t.Errorf("keys %q, %v; want %q", keys, err, tt.keys)
			}
		})
	}
}

// A server that repeats, after the continuation token, the common prefix it ended with.
func TestListDoesNotRepeat(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("start-after") == "a/"+endOfPrefix:
			_, _ = io.WriteString(w, listing("", "", "b"))
		case q.Get("continuation-token") == "two":
			_, _ = io.WriteString(w, listing("", "three", "0", "a/|"))
		default:
			_, _ = io.WriteString(w, listing("", "two", "0"))
		}
	})
	var got []string
	req := upstream.ListRequest{Bucket: "bucket", Delimiter: "/", MaxKeys: 1}
	for range 10 {
		page, err := b.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			got = append(got, o.Key)
		}
		got = append(got, page.Prefixes...)
		if req.Token = page.Next; req.Token == "" {
			break
		}
	}
	if want := []string{"0", "a/", "b"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestStartAfterACommonPrefix(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, listing("", "", "a/|", "b/|")) })
	page, err := b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", Delimiter: "/", StartAfter: "a/", MaxKeys: 10})
	if err != nil || !slices.Equal(page.Prefixes, []string{"b/"}) {
		t.Errorf("List = %+v, %v", page, err)
	}
}

// A listing that starts inside a common prefix, of a server that takes the prefix for passed.
func TestStartInsideACommonPrefix(t *testing.T) {
	for after, want := range map[string][]string{"a/1": {"a/", "b/"}, "a/2": {"b/"}} {
		b := open(t, func(w http.ResponseWriter, r *http.Request) {
			switch q := r.URL.Query(); {
			case q.Get("prefix") == "a/" && q.Get("start-after") == "a/1":
				_, _ = io.WriteString(w, listing("", "", "a/2"))
			case q.Get("prefix") == "a/":
				_, _ = io.WriteString(w, listing("", ""))
			default:
				_, _ = io.WriteString(w, listing("", "", "b/|"))
			}
		})
		var got []string
		req := upstream.ListRequest{Bucket: "bucket", Delimiter: "/", StartAfter: after, MaxKeys: 10}
		for more := true; more; more = req.Token != "" {
			page, err := b.List(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page.Prefixes...)
			req.Token = page.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %q: %q, want %q", after, got, want)
		}
	}
}

func TestListThatDoesNotGoOn(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, listing("", "same", "a")) })
	page, err := b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1, Token: page.Next})
	wantCode(t, err, upstream.Unavailable)
	for _, token := range []string{"x", "!.x", "."} {
		_, err = b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1, Token: token})
		wantCode(t, err, upstream.Invalid)
	}
}

func TestKeysThatAreReadAsPaths(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, key := range []string{".", "..", "/a", "a//b", "a/./b", "../a", "a/..", "//", "a//", ".sgwtmp/x", ""} {
		l := upstream.Loc{Bucket: "bucket", Key: key}
		_, err := b.Stat(t.Context(), l, upstream.StatOptions{})
		wantCode(t, err, upstream.InvalidKey)
		_, err = b.Put(t.Context(), l, upstream.PutRequest{})
		wantCode(t, err, upstream.InvalidKey)
		_, err = b.Copy(t.Context(), loc, upstream.CopyRequest{Source: l})
		wantCode(t, err, upstream.InvalidKey)
	}
	for _, bucket := range []string{"", "..", ".b", "a/b", "a--x-s3", "arn:aws:s3:::b", "ü"} {
		_, err := b.Stat(t.Context(), upstream.Loc{Bucket: bucket, Key: "k"}, upstream.StatOptions{})
		wantCode(t, err, upstream.Invalid)
	}
}

// Keys with control characters are refused where the listing could not tell them.
func TestControlCharactersNeedEncodedListings(t *testing.T) {
	for encoding, want := range map[string]bool{encodedURL: true, "": false} {
		lists := 0
		b := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("list-type") {
				lists++
				_, _ = io.WriteString(w, listing(encoding, ""))
				return
			}
			w.Header().Set("ETag", `"e"`)
		})
		for range 2 {
			_, err := b.Put(t.Context(), upstream.Loc{Bucket: "bucket", Key: "a\x01"}, upstream.PutRequest{})
			if want && err != nil {
				t.Error(err)
			} else if !want {
				wantCode(t, err, upstream.InvalidKey)
			}
		}
		if lists != 1 {
			t.Errorf("%d listings, want 1", lists)
		}
	}
}

func TestDeleteBatch(t *testing.T) {
	var doc string
	var single []string
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			single = append(single, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		data, _ := io.ReadAll(r.Body)
		doc = string(data)
		if r.Header.Get("Content-Md5") == "" || r.Header.Get("X-Amz-Checksum-Crc32") != "" {
			t.Errorf("headers %v", r.Header)
		}
		_, _ = io.WriteString(w, `<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code></Error>`+
			`<Error><Key>c</Key><Code>NoSuchKey</Code></Error><Error><Key>d</Key><Code>Odd</Code></Error></DeleteResult>`)
	})
	b.listings.learn(true)
	errs, err := b.DeleteBatch(t.Context(), "bucket", []string{"a", "b", "c", "d", "silent", "x\ny", "a", "//"})
	if err != nil || len(errs) != 8 {
		t.Fatalf("DeleteBatch = %v, %v", errs, err)
	}
	failed := map[int]upstream.Code{1: upstream.Access, 3: upstream.Unavailable, 4: upstream.Unavailable, 7: upstream.InvalidKey}
	for i, err := range errs {
		if want, ok := failed[i]; ok {
			wantCode(t, err, want)
		} else if err != nil {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if strings.Count(doc, "<Key>") != 5 || !slices.Equal(single, []string{"/bucket/x\ny"}) {
		t.Errorf("sent %s and single deletes of %q", doc, single)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Endpoint: "https://127.0.0.1:1", AccessKey: "a", SecretKey: config.NewSecret("s")}
	for _, file := range []string{bad, filepath.Join(dir, "missing.pem")} {
		cfg.CAFile = file
		if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "CA file") {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []Config{
		{Endpoint: "127.0.0.1:9000", AccessKey: "a", SecretKey: config.NewSecret("s")},
		{Endpoint: "ftp://x", AccessKey: "a", SecretKey: config.NewSecret("s")},
		{Endpoint: "http://user:password@x", AccessKey: "a", SecretKey: config.NewSecret("s")},
		{Endpoint: "http://x", AccessKey: "a"},
		{Endpoint: "http://x", SecretKey: config.NewSecret("s")},
	} {
		if _, err := New(t.Context(), cfg); err == nil || strings.Contains(fmt.Sprint(err), "password") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
