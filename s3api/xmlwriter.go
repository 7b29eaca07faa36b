package s3api

import (
	"bytes"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"unistore/object"
)

const (
	xmlProlog    = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

	// xmlTime is ISO 8601 in UTC with milliseconds, as S3 writes times in XML.
	xmlTime = "2006-01-02T15:04:05.000Z"

	ownerID          = "unistore" // there are no accounts: one owner has everything
	standardClass    = "STANDARD"
	contentTypeXML   = "application/xml"
	defaultMediaType = "binary/octet-stream"
)

// xmlWriter writes the flat XML of S3. encoding/xml is no use for it: it turns characters
// that XML 1.0 can not hold into U+FFFD, which would make two keys look the same.
type xmlWriter struct {
	buf bytes.Buffer
	// encodeKeys is encoding-type=url: what key and prefix elements hold is percent-encoded.
	encodeKeys bool
}

// newXML starts a document whose root element is in the namespace of S3.
func newXML(root string) *xmlWriter {
	w := &xmlWriter{}
	w.buf.WriteString(xmlProlog)
	w.buf.WriteString("<" + root + ` xmlns="` + xmlNamespace + `">`)
	return w
}

func (w *xmlWriter) open(name string)  { w.buf.WriteString("<" + name + ">") }
func (w *xmlWriter) close(name string) { w.buf.WriteString("</" + name + ">") }

func (w *xmlWriter) str(name, value string) {
	w.open(name)
	escapeXML(&w.buf, value)
	w.close(name)
}

// strIf writes nothing for an empty value.
func (w *xmlWriter) strIf(name, value string) {
	if value != "" {
		w.str(name, value)
	}
}

// key writes a key, or anything that encoding-type=url encodes like one.
func (w *xmlWriter) key(name, value string) {
	if w.encodeKeys {
		value = encodeKey(value)
	}
	w.str(name, value)
}

func (w *xmlWriter) keyIf(name, value string) {
	if value != "" {
		w.key(name, value)
	}
}

func (w *xmlWriter) int(name string, value int64) { w.str(name, strconv.FormatInt(value, 10)) }
func (w *xmlWriter) bool(name string, value bool) { w.str(name, strconv.FormatBool(value)) }
func (w *xmlWriter) time(name string, t time.Time) {
	w.str(name, t.UTC().Format(xmlTime))
}
func (w *xmlWriter) etag(etag string) { w.str("ETag", quoteETag(etag)) }

func (w *xmlWriter) owner(name string) {
	w.open(name)
	w.str("ID", ownerID)
	w.str("DisplayName", ownerID)
	w.close(name)
}

func (w *xmlWriter) storageClass(class string) {
	if class == "" {
		class = standardClass
	}
	w.str("StorageClass", class)
}

func (w *xmlWriter) prefixes(prefixes []string) {
	for _, p := range prefixes {
		w.open("CommonPrefixes")
		w.key("Prefix", p)
		w.close("CommonPrefixes")
	}
}

// checksums writes ChecksumCRC32 and its like. Where withType is set, ChecksumType follows.
func (w *xmlWriter) checksums(sums []object.Checksum, withType bool) {
	for _, s := range sums {
		w.str("Checksum"+s.Algorithm, s.Value)
	}
	if withType {
		w.strIf("ChecksumType", checksumType(sums))
	}
}

// response ends the document and makes it the body of a 200.
func (w *xmlWriter) response(root string) *Response {
	w.close(root)
	return xmlResponse(200, w.buf.Bytes())
}

func xmlResponse(status int, doc []byte) *Response {
	resp := &Response{Status: status, Body: xmlBody{bytes.NewReader(doc)}, Length: int64(len(doc))}
	resp.Set("Content-Type", contentTypeXML)
	return resp
}

// xmlBody is a document in memory; it is an io.WriterTo through its reader.
type xmlBody struct{ *bytes.Reader }

// Close implements io.Closer.
func (xmlBody) Close() error { return nil }

var _ io.WriterTo = xmlBody{}

func checksumType(sums []object.Checksum) string {
	for _, s := range sums {
		if s.Type != "" {
			return s.Type
		}
	}
	return ""
}

// quoteETag puts the quotes round an ETag; no ETag stays none.
func quoteETag(etag string) string {
	if etag == "" {
		return ""
	}
	return `"` + etag + `"`
}

// escapeXML writes s as character data. Characters that XML 1.0 can not hold become character
// references all the same (&#x1;), as S3 does: strict parsers refuse them, none mistakes them. Carriage
// return is a reference because parsers turn a bare one into a line feed.
func escapeXML(buf *bytes.Buffer, s string) {
	start := 0
	for i, r := range s {
		var esc string
		switch {
		case r == '&':
			esc = "&amp;"
		case r == '<':
			esc = "&lt;"
		case r == '>':
			esc = "&gt;"
		case r == '"':
			esc = "&quot;"
		case r < 0x20 && r != '\t' && r != '\n', r == 0x7f, r == 0xfffe, r == 0xffff:
			esc = "&#x" + strconv.FormatInt(int64(r), 16) + ";"
		case r == utf8.RuneError && !isReplacement(s[i:]):
			buf.WriteString(s[start:i])
			buf.WriteRune(utf8.RuneError)
			start = i + 1
			continue
		default:
			continue
		}
		buf.WriteString(s[start:i])
		buf.WriteString(esc)
		start = i + utf8.RuneLen(r)
	}
	buf.WriteString(s[start:])
}

// isReplacement reports whether s starts with a real U+FFFD rather than with an invalid byte.
func isReplacement(s string) bool {
	_, n := utf8.DecodeRuneInString(s)
	return n > 1
}

// encodeKey is the encoding of encoding-type=url: that of forms ('+' for a space), but
// with "/" and "*" kept. Clients decode it with unquote_plus and its like.
func encodeKey(key string) string {
	b := make([]byte, 0, len(key)+16)
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '/', c == '*':
			b = append(b, c)
		case c == ' ':
			b = append(b, '+')
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}
