//go:build e2e

package e2e

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// sink is an emulator of as much of S3 as uploads need. It keeps no byte: it compares what arrives with what the
// object should hold, so that objects of any size can be written to it.
type sink struct {
	*httptest.Server
	want map[string]content          // by path
	at   func(part int) (from int64) // where the part of that number begins

	mu struct {
		sync.Mutex
		uploads int
		parts   map[string]map[int]sinkPart // by upload id
		objects map[string]sinkPart         // by path
		wrong   []string                    // what should not have come
	}
}

type sinkPart struct {
	size int64
	etag string // without quotes
}

func newSink(t *testing.T, want map[string]content, at func(part int) int64) *sink {
	t.Helper()
	s := &sink{want: want, at: at}
	s.mu.parts, s.mu.objects = map[string]map[int]sinkPart{}, map[string]sinkPart{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) yaml() string { return s3YAML(s.URL, "sink", "sink-secret") }

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, id := r.URL.Query(), r.URL.Query().Get("uploadId")
	number, _ := strconv.Atoi(q.Get("partNumber"))
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.create(w)
	case r.Method == http.MethodPut && id != "":
		s.part(w, r, id, number)
	case r.Method == http.MethodPost && id != "":
		s.complete(w, r, id)
	case r.Method == http.MethodDelete && id != "":
		s.abort(w, id)
	case r.Method == http.MethodGet && id != "":
		fmt.Fprint(w, `<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>`)
	case r.Method == http.MethodPut && strings.Count(r.URL.Path, "/") == 2:
		s.put(w, r)
	case r.Method == http.MethodHead && strings.Count(r.URL.Path, "/") == 2:
		s.head(w, r.URL.Path)
	case r.Method == http.MethodGet && r.URL.Path == "/": // whether it answers at all
		fmt.Fprint(w, `<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>`)
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`)
	}
}

func (s *sink) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.wrong = append(s.mu.wrong, fmt.Sprintf(format, args...))
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Error><Code>%s</Code></Error>`, code)
}

func (s *sink) create(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.uploads++
	id := fmt.Sprintf("upload%d", s.mu.uploads)
	s.mu.parts[id] = map[int]sinkPart{}
	fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, id)
}

// part takes a part: its bytes must be those of the object at its place.
func (s *sink) part(w http.ResponseWriter, r *http.Request, id string, number int) {
	if r.Header.Get("X-Amz-Trailer") != "" { // the question whether trailers work: they do not here
		refuse(w, http.StatusNotImplemented, "NotImplemented")
		return
	}
	sum, _ := base64.StdEncoding.DecodeString(r.Header.Get("Content-Md5"))
	n, ok := s.compare(r, s.at(number))
	if !ok || len(sum) != md5.Size {
		refuse(w, http.StatusBadRequest, "BadDigest")
		return
	}
	part := sinkPart{n, hex.EncodeToString(sum)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.parts[id] == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	s.mu.parts[id][number] = part
	w.Header().Set("ETag", strconv.Quote(part.etag))
}

// compare reads a body that should be the object's from some offset on.
func (s *sink) compare(r *http.Request, from int64) (int64, bool) {
	n, err := s.want[r.URL.Path].compare(r.Body, from)
	if err != nil || n != r.ContentLength {
		s.note("%s from %d: %d bytes: %v", r.URL, from, n, err)
		return n, false
	}
	return n, true
}

func (s *sink) complete(w http.ResponseWriter, r *http.Request, id string) {
	var list struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(r.Body).Decode(&list); err != nil {
		refuse(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var object sinkPart
	sums := md5.New()
	for _, p := range list.Part {
		have, ok := s.mu.parts[id][p.PartNumber]
		if !ok || have.etag != strings.Trim(p.ETag, `"`) {
			refuse(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		object.size += have.size
		sum, _ := hex.DecodeString(have.etag)
		sums.Write(sum)
	}
	object.etag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(list.Part))
	s.mu.objects[r.URL.Path] = object
	delete(s.mu.parts, id)
	fmt.Fprintf(w, `<CompleteMultipartUploadResult><ETag>"%s"</ETag></CompleteMultipartUploadResult>`, object.etag)
}

func (s *sink) abort(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.parts, id)
	w.WriteHeader(http.StatusNoContent)
}

// sinkETag is that of every object: no MD5 and not of the form of one.
const sinkETag = "not-a-digest"

// put takes an object; what is wanted of it has been compared.
func (s *sink) put(w http.ResponseWriter, r *http.Request) {
	n, ok := s.compare(r, 0)
	if !ok {
		refuse(w, http.StatusBadRequest, "BadDigest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.objects[r.URL.Path] = sinkPart{n, sinkETag}
	w.Header().Set("ETag", `"`+sinkETag+`"`)
}

func (s *sink) head(w http.ResponseWriter, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, ok := s.mu.objects[path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", strconv.Quote(object.etag))
	w.Header().Set("Content-Length", strconv.FormatInt(object.size, 10))
}

// verify reports what is wrong with what the sink was given: every object whole, no upload left.
func (s *sink) verify(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, what := range s.want {
		if got := s.mu.objects[path].size; got != what.size {
			t.Errorf("%s: %d bytes, want %d", path, got, what.size)
		}
	}
	for _, text := range s.mu.wrong {
		t.Error(text)
	}
	if n := len(s.mu.parts); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}
