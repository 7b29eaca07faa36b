package s3api_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"unistore/object"
	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

const prolog = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// keyDoc is a Delete with one key, raw as given.
func keyDoc(raw string) string { return "<Delete><Object><Key>" + raw + "</Key></Object></Delete>" }

func TestReadDelete(t *testing.T) {
	one := func(key string) DeleteRequest { return DeleteRequest{Objects: []DeleteTarget{{Key: key}}} }
	tests := []struct {
		name, doc string
		want      DeleteRequest
	}{
		{"full", prolog + `<!-- x --><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"> <Quiet> true </Quiet>
			<Object><Key>a</Key><VersionId>null</VersionId></Object>
			<Object><ETag>&quot;e-2&quot;</ETag><Key> b </Key></Object>
			</Delete>` + "\n", DeleteRequest{Quiet: true, Objects: []DeleteTarget{{Key: "a", VersionID: "null"}, {Key: " b ", ETag: "e-2"}}}},
		{"other namespace", `<x:Delete xmlns:x="urn:x"><x:Object><x:Key>a</x:Key></x:Object></x:Delete>`, one("a")},
		{"not quiet", `<Delete><Object><Key>a</Key></Object><Quiet>false</Quiet></Delete>`, one("a")},
		{"byte order mark", "\ufeff" + keyDoc("a"), one("a")},
		{"entities", keyDoc("&amp;&lt;&gt;&quot;&apos;&#97;&#x62;&#x1F600;"), one(`&<>"'ab😀`)},
		{"control characters", keyDoc("a&#1;&#x1;&#x1F;&#31;&#xfffe;&#xFFFF;b"), one("a\x01\x01\x1f\x1f\ufffe\uffffb")},
		{"raw control characters", keyDoc("a\x01\x7f\ufffe\uffffb"), one("a\x01\x7f\ufffe\uffffb")},
		{"the marks themselves", keyDoc("\uf8ff\ue001&#xf8ff;\ue102&#xe100;"), one("\uf8ff\ue001\uf8ff\ue102\ue100")},
		{"marks by halves", keyDoc("\uf8ff\uf8ff"), one("\uf8ff\uf8ff")},
		{"line ends", keyDoc("a&#13;&#10;b&#xD;c\r\nd\re\tf"), one("a\r\nb\rc\nd\ne\tf")},
		{"CDATA", keyDoc("<![CDATA[<&#1;>]]&gt;]]>&#1;"), one("<&#1;>]]&gt;\x01")},
		{"comment in a key", keyDoc("a<!-- &#1; -->b"), one("ab")},
		{"an ampersand, escaped", keyDoc("&amp;#1;&#38;#1;"), one("&#1;&#1;")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.doc), iotest.OneByteReader(strings.NewReader(tt.doc))} {
				got, err := ReadDelete(r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
		})
	}
}

// lines repeats format n times, with 1..n.
func lines(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i+1)
	}
	return b.String()
}

func TestReadDeleteLimits(t *testing.T) {
	const object = "<Object><Key>%04d</Key></Object>"
	got, err := ReadDelete(strings.NewReader("<Delete>" + lines(object, 1000) + "</Delete>"))
	if err != nil || len(got.Objects) != 1000 || got.Objects[999].Key != "1000" {
		t.Errorf("1000 objects: %d, %v", len(got.Objects), err)
	}
	_, err = ReadDelete(strings.NewReader("<Delete>" + lines(object, 1001) + "</Delete>"))
	wantError(t, "1001 objects", err, ErrMalformedXML)
	worst := "<Delete>" + lines("<Object><Key>%04d"+strings.Repeat("&#x1F;", 1020)+"</Key></Object>", 1000) + "</Delete>"
	got, err = ReadDelete(strings.NewReader(worst))
	if err != nil || len(got.Objects) != 1000 || len(got.Objects[7].Key) != 1024 {
		t.Errorf("1000 of the longest keys: %d, %v", len(got.Objects), err)
	}
	_, err = ReadDelete(io.MultiReader(strings.NewReader(keyDoc("a")), &repeat{" "}))
	wantError(t, "endless space", err, ErrMaxMessageLengthExceeded)
	_, err = ReadDelete(&repeat{"<Delete>"})
	wantError(t, "endless nesting", err, ErrMalformedXML)
}

// repeat is an endless stream.
type repeat struct{ s string }

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n+len(r.s) <= len(p) {
		n += copy(p[n:], r.s)
	}
	return n, nil
}

func TestMalformedXML(t *testing.T) {
	keys := []string{"", "<b/>", "&#0;", "&#xD800;", "&#xDFFF;", "&#55296;", "&#x00000000d800;", "&#x000000000061;", "&#x-1;", "&#+1;", "&#X1;", "&#x_1;", "&#00;", "&#x110000;", "&x;", "&", "&#;", "&#x;", "\x00", "\xff", "<Key>a</Key>", "a]]>b"}
	docs := []string{
		" ", "x", "<", "<Delete", "<Delete>", "<Delete/>", "<Delete></Delet>", "<Delete></Delete></Delete>", "<delete></delete>",
		"<Delete><Object></Object></Delete>", "<Delete><Object/></Delete>", "<Delete>x<Object><Key>a</Key></Object></Delete>",
		"<Delete><Object>x<Key>a</Key></Object></Delete>", keyDoc("a") + "<Delete/>", keyDoc("a") + "x", "x" + keyDoc("a"),
		"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", "<Delete><Object><Key>a</Key><Name>b</Name></Object></Delete>",
		"<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>", "<Delete><Keys/></Delete>",
		`<!DOCTYPE Delete [<!ENTITY x "y">]>` + keyDoc("&x;"), `<!DOCTYPE Delete>` + keyDoc("a"),
		"<Delete><!ELEMENT x ANY><Object><Key>a</Key></Object></Delete>", "<Delete><Object><Key>a</Object></Key></Delete>",
		`<?xml version="1.0" encoding="UTF-16"?>` + keyDoc("a"), `{"Objects":[{"Key":"a"}]}`,
		"<Delete><Object><Key>a</Key></Object>", "<Error/>",
	}
	for _, k := range keys {
		docs = append(docs, keyDoc(k))
	}
	for _, doc := range docs {
		got, err := ReadDelete(strings.NewReader(doc))
		if doc == " " {
			wantError(t, "blank", err, ErrMissingRequestBodyError)
			continue
		}
		wantError(t, doc, err, ErrMalformedXML)
		if len(got.Objects) > 0 {
			t.Errorf("%s: objects with an error: %v", doc, got)
		}
	}
	_, err := ReadDelete(strings.NewReader("<Delete><Object><Key>a</Key><Size>5</Size></Object></Delete>"))
	wantError(t, "Size", err, ErrNotImplemented)
}

// TestBodyErrors: what the body says goes before what the document looks like, wherever it fails.
func TestBodyErrors(t *testing.T) {
	digest := &Error{Code: ErrBadDigest}
	reset := errors.New("connection reset")
	read := map[string]func(io.Reader) error{
		"Delete":   func(r io.Reader) error { _, err := ReadDelete(r); return err },
		"Complete": func(r io.Reader) error { _, err := ReadComplete(r); return err },
		"Create":   func(r io.Reader) error { _, err := ReadCreateBucket(r); return err },
	}
	docs := map[string]string{
		"Delete":   keyDoc("a&#1;b") + "\n",
		"Complete": "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
		"Create":   "<CreateBucketConfiguration><LocationConstraint>x</LocationConstraint></CreateBucketConfiguration>",
	}
	for name, doc := range docs {
		if err := read[name](strings.NewReader(doc)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range len(doc) + 1 {
			for _, want := range []error{digest, reset, fmt.Errorf("wrapped: %w", io.EOF)} {
				err := read[name](io.MultiReader(strings.NewReader(doc[:i]), iotest.ErrReader(want)))
				if err != want {
					t.Errorf("%s failing after %d bytes: %v, want %v", name, i, err, want)
				}
			}
		}
	}
}

func TestReadComplete(t *testing.T) {
	part := func(number, etag, more string) string {
		return "<Part><PartNumber>" + number + "</PartNumber><ETag>" + etag + "</ETag>" + more + "</Part>"
	}
	doc := func(parts ...string) string {
		return "<CompleteMultipartUpload>" + strings.Join(parts, "\n") + "</CompleteMultipartUpload>"
	}
	got, err := ReadComplete(strings.NewReader(prolog + doc(part("1", "&quot;a&quot;", "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"),
		part(" 3 ", "b", "<ChecksumSHA256>x</ChecksumSHA256><ChecksumCRC64NVME>y</ChecksumCRC64NVME><ChecksumSHA1/>"),
		part("10000", "\"c\"", ""))))
	want := []CompletedPart{
		{PartNumber: 1, ETag: "a", Checksums: []object.Checksum{{Algorithm: "CRC32", Value: "AAAAAA=="}}},
		{PartNumber: 3, ETag: "b", Checksums: []object.Checksum{{Algorithm: "SHA256", Value: "x"}, {Algorithm: "CRC64NVME", Value: "y"}}},
		{PartNumber: 10000, ETag: "c"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	all := doc(lines(part("%d", "e", ""), 10000))
	if got, err := ReadComplete(strings.NewReader(all)); err != nil || len(got) != 10000 {
		t.Errorf("10000 parts: %d, %v", len(got), err)
	}
	tests := []struct {
		name, doc string
		code      ErrorCode
	}{
		{"empty body", "", ErrInvalidRequest},
		{"no parts", doc(), ErrMalformedXML},
		{"descending", doc(part("2", "a", ""), part("1", "b", "")), ErrInvalidPartOrder},
		{"equal", doc(part("2", "a", ""), part("2", "a", "")), ErrInvalidPartOrder},
		{"part 0", doc(part("0", "a", "")), ErrInvalidArgument},
		{"part 10001", doc(part("10001", "a", "")), ErrInvalidArgument},
		{"part x", doc(part("x", "a", "")), ErrMalformedXML},
		{"no number", doc("<Part><ETag>a</ETag></Part>"), ErrMalformedXML},
		{"no ETag", doc("<Part><PartNumber>1</PartNumber></Part>"), ErrMalformedXML},
		{"ETag with markup", doc(part("1", "&lt;/ETag&gt;&lt;ETag&gt;a", "")), ErrInvalidPart},
		{"ETag with an entity", doc(part("1", "&amp;lt;", "")), ErrInvalidPart},
		{"ETag with a quote in it", doc(part("1", "a&quot;b", "")), ErrInvalidPart},
		{"ETag with a line break", doc(part("1", "a&#10;b", "")), ErrInvalidPart},
		{"ETag not of ASCII", doc(part("1", "ä", "")), ErrInvalidPart},
		{"long ETag", doc(part("1", strings.Repeat("a", 300), "")), ErrInvalidPart},
		{"two ETags", doc(part("1", "a", "<ETag>b</ETag>")), ErrMalformedXML},
		{"two checksums alike", doc(part("1", "a", "<ChecksumCRC32>x</ChecksumCRC32><ChecksumCRC32>y</ChecksumCRC32>")), ErrMalformedXML},
		{"unknown checksum", doc(part("1", "a", "<ChecksumMD9>x</ChecksumMD9>")), ErrMalformedXML},
		{"no prefix", doc(part("1", "a", "<CRC32>x</CRC32>")), ErrMalformedXML},
		{"unknown element", doc(part("1", "a", ""), "<Other/>"), ErrMalformedXML},
		{"other root", "<Delete></Delete>", ErrMalformedXML},
		{"10001 parts", doc(lines(part("%d", "e", ""), 10001)), ErrMalformedXML},
	}
	for _, tt := range tests {
		_, err := ReadComplete(strings.NewReader(tt.doc))
		wantError(t, tt.name, err, tt.code)
	}
}

func TestReadCreateBucket(t *testing.T) {
	const ns = `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`
	tests := []struct {
		doc, location string
		code          ErrorCode
	}{
		{doc: ""},
		{doc: "\n"},
		{doc: ns + "</CreateBucketConfiguration>"},
		{doc: prolog + ns + "<LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>", location: "eu-west-1"},
		{doc: ns + "<Location><Name>x</Name></Location></CreateBucketConfiguration>", code: ErrNotImplemented},
		{doc: ns + "<Tags/></CreateBucketConfiguration>", code: ErrNotImplemented},
		{doc: ns + "<Region>x</Region></CreateBucketConfiguration>", code: ErrMalformedXML},
		{doc: ns, code: ErrMalformedXML},
		{doc: "x", code: ErrMalformedXML},
	}
	for _, tt := range tests {
		got, err := ReadCreateBucket(strings.NewReader(tt.doc))
		if tt.code != "" {
			wantError(t, tt.doc, err, tt.code)
		} else if err != nil || got != tt.location {
			t.Errorf("%s: %q, %v; want %q", tt.doc, got, err, tt.location)
		}
	}
	if location, err := ReadCreateBucket(nil); location != "" || err != nil {
		t.Errorf("nil body: %q, %v", location, err)
	}
}
