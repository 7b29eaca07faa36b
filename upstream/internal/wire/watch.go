package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// MaxDocument bounds what is read of an answer that is a document and not an object. A listing of 1000 keys of
// 1 KiB, percent-encoded, fits.
const MaxDocument = 8 << 20

// maxError bounds an error document, and the answers in which one may hide.
const maxError = 1 << 20

// Document is a store's description of an error: XML with the root Error, or JSON.
type Document struct {
	XMLName   xml.Name `xml:"Error" json:"-"`
	Code      string   `xml:"Code" json:"code"`
	Message   string   `xml:"Message" json:"message"`
	RequestID string   `xml:"RequestId" json:"request_id"`
}

// ParseError reads an error document; what is none is an empty one.
func ParseError(body []byte) Document {
	var d Document
	body = bytes.TrimLeft(body, " \t\r\n\ufeff")
	var err error
	if bytes.HasPrefix(body, []byte("{")) {
		err = json.Unmarshal(body, &d)
	} else {
		err = xml.Unmarshal(body, &d)
	}
	if err != nil && d.Code == "" {
		return Document{}
	}
	return d
}

// Watch is the RoundTripper that notes the answer in the Exchange and looks into documents. It comes right before
// the transport. Requests without an Exchange get the same answers.
//
// Stores answer Complete and Copy with 200 early, to keep the connection alive with white space while they work;
// what became of the work is in the document. One with the root Error makes the answer a 500 with that
// document; one that is empty, cut or too long makes it no answer at all.
//
// And it names the protocol, which some SDKs leave out: net/http then sends "Expect: 100-continue" but not as it is
// meant, with the body right behind it, so that an early refusal of a large body is lost in the reset of the connection.
type Watch struct{ Next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t Watch) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.WithContext(req.Context())
	req.ProtoMajor, req.ProtoMinor = 1, 1
	resp, err := t.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	x := exchangeOf(req.Context())
	if x == nil {
		x = &Exchange{}
	}
	x.answer = Answer{Status: resp.StatusCode, Header: resp.Header.Clone(), Length: resp.ContentLength}
	switch {
	case resp.StatusCode >= 300:
		if req.Method != http.MethodHead {
			x.readError(resp)
		}
	case resp.StatusCode == http.StatusOK && worksFirst(req):
		return x.readResult(resp)
	case x.Keep:
		return x.keep(resp)
	}
	return resp, nil
}

// readError reads an error document. It is cut at maxError; one that breaks off says less, but the status stands.
func (x *Exchange) readError(resp *http.Response) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // see above
	replaceBody(resp, body)
	x.answer.Error = ParseError(body)
}

// worksFirst reports whether the answer to req may be an error under "200 OK": to the completion of an upload and
// to copies. SDKs write header lines as they like, so names are compared without regard to case.
func worksFirst(req *http.Request) bool {
	switch req.Method {
	case http.MethodPost:
		return req.URL.Query().Has("uploadId")
	case http.MethodPut:
		for name := range req.Header {
			if strings.HasSuffix(strings.ToLower(name), "-copy-source") {
				return true
			}
		}
	}
	return false
}

// readResult reads the document that tells the outcome.
func (x *Exchange) readResult(resp *http.Response) (*http.Response, error) {
	body, err := readDocument(resp.Body, maxError)
	if err != nil {
		_ = resp.Body.Close() // the answer is void
		x.answer = Answer{}
		return nil, fmt.Errorf("the answer is 200, its document no answer: %w", err)
	}
	if Root(body) == "Error" {
		x.answer.Error = ParseError(body)
		x.answer.Status = http.StatusInternalServerError
		resp.StatusCode = http.StatusInternalServerError
		resp.Status = "500 an error under 200 OK"
	}
	if x.Keep {
		x.answer.Body = body
	}
	replaceBody(resp, body)
	return resp, nil
}

func (x *Exchange) keep(resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxDocument+1))
	if err == nil && len(body) > MaxDocument {
		err = errTooLong
	}
	if err != nil {
		_ = resp.Body.Close() // the answer is void
		x.answer = Answer{}
		return nil, err
	}
	x.answer.Body = body
	replaceBody(resp, body)
	return resp, nil
}

// replaceBody closes the answer's body, whose connection is kept if it has been read to the end, and puts body
// in its place.
func replaceBody(resp *http.Response, body []byte) {
	_ = resp.Body.Close() // what was wanted of it has been read
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.TransferEncoding = nil
	resp.Header.Set("Content-Length", formatInt(int64(len(body))))
}

var (
	errTooLong = errors.New("the document is too long")
	errEmpty   = errors.New("it is empty")
	errCut     = errors.New("it is cut")
)

// readDocument reads an XML document whole, without the white space before it, which may be of any length.
func readDocument(r io.Reader, most int) ([]byte, error) {
	br := bufio.NewReader(r)
	for {
		c, err := br.ReadByte()
		switch {
		case err == io.EOF:
			return nil, errEmpty
		case err != nil:
			return nil, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			_ = br.UnreadByte() // cannot fail after ReadByte
			break
		}
	}
	body, err := io.ReadAll(io.LimitReader(br, int64(most)+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > most:
		return nil, errTooLong
	}
	name := Root(body)
	end := bytes.TrimRight(body, " \t\r\n")
	if name == "" || !bytes.HasSuffix(end, []byte("</"+name+">")) {
		return nil, errCut
	}
	return body, nil
}

// Root is the name of the first element of body as it is written, or empty. It looks no further: documents of stores may
// hold characters, of keys, that XML does not allow.
func Root(body []byte) string {
	for {
		i := bytes.IndexByte(body, '<')
		if i < 0 {
			return ""
		}
		body = body[i+1:]
		if len(body) == 0 || body[0] == '?' || body[0] == '!' {
			continue // prolog, comment
		}
		end := bytes.IndexAny(body, " \t\r\n/>")
		if end < 0 {
			return ""
		}
		return string(body[:end])
	}
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// dropFold deletes the lines of that name in any spelling.
func dropFold(h http.Header, name string) {
	for k := range h {
		if strings.EqualFold(k, name) {
			delete(h, k)
		}
	}
}
