package wire

import (
	"encoding/base64"
	"net/http"
	"strings"

	"unistore/object"
)

// Header values go out in ASCII: SDKs and stores treat other bytes each in its own way, or drop them. A value that
// is not plain is one "encoded-word" of RFC 2047 in base64, of any length; so is one that begins like one, so that
// decoding what was encoded always gives the original.
const (
	wordBegin = "=?UTF-8?B?"
	wordEnd   = "?="
)

// EncodeValue makes a value fit for the wire. DecodeValue reverses it.
func EncodeValue(v string) string {
	if plain(v) && !strings.HasPrefix(v, wordBegin) {
		return v
	}
	return wordBegin + base64.StdEncoding.EncodeToString([]byte(v)) + wordEnd
}

// DecodeValue returns what EncodeValue was given; a value of other form is itself.
func DecodeValue(v string) string {
	word, ok := strings.CutPrefix(v, wordBegin)
	word, ok2 := strings.CutSuffix(word, wordEnd)
	if !ok || !ok2 {
		return v
	}
	b, err := base64.StdEncoding.DecodeString(word)
	if err != nil {
		return v
	}
	return string(b)
}

// plain values are printable ASCII without white space at their ends, which HTTP takes off, and not empty, which
// some stores and SDKs take for not there.
func plain(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return v != "" && v[0] != ' ' && v[len(v)-1] != ' '
}

// EncodeName makes the name of a user header of letters, digits and "-" alone, for stores that take no other. Every
// other byte becomes "--" and two hexadecimal digits; so does a "-" before another one. DecodeName reverses it.
func EncodeName(name string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-' && (i+1 == len(name) || name[i+1] != '-'):
			b.WriteByte(c)
		default:
			b.WriteString("--")
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// DecodeName returns what EncodeName was given.
func DecodeName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if rest := name[i:]; len(rest) >= 4 && rest[:2] == "--" {
			hi, lo := hexDigit(rest[2]), hexDigit(rest[3])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 3
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	default:
		return -1
	}
}

// Token reports whether s is a token of RFC 9110 section 5.6.2.
func Token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

// EncodeHeaders returns o with its values encoded. An empty content header stays empty: it is not given.
func EncodeHeaders(o object.Headers) object.Headers {
	return mapHeaders(o, func(v string) string {
		if v == "" {
			return ""
		}
		return EncodeValue(v)
	}, EncodeValue)
}

func mapHeaders(o object.Headers, content, user func(string) string) object.Headers {
	out := object.Headers{
		ContentType: content(o.ContentType), ContentEncoding: content(o.ContentEncoding), ContentLanguage: content(o.ContentLanguage),
		ContentDisposition: content(o.ContentDisposition), CacheControl: content(o.CacheControl), Expires: content(o.Expires),
	}
	for name, value := range o.User {
		if out.User == nil {
			out.User = make(map[string]string, len(o.User))
		}
		out.User[name] = user(value)
	}
	return out
}

// HeadersOf reads an object's headers from an answer. metaPrefix begins the names of user headers, in canonical form.
func HeadersOf(h http.Header, metaPrefix string) object.Headers {
	raw := object.Headers{
		ContentType: h.Get("Content-Type"), ContentEncoding: h.Get("Content-Encoding"), ContentLanguage: h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"), CacheControl: h.Get("Cache-Control"), Expires: h.Get("Expires"),
	}
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok && rest != "" {
			if raw.User == nil {
				raw.User = map[string]string{}
			}
			raw.User[strings.ToLower(rest)] = strings.Join(values, ",")
		}
	}
	return mapHeaders(raw, DecodeValue, DecodeValue)
}
