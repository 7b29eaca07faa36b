package s3api

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// maxXML is the most bytes that a request's document may have. 1000 keys of 1024 bytes, all of them character references,
// fit into it.
const maxXML = 8 << 20

func errMalformedXML() *Error { return &Error{Code: ErrMalformedXML} }

// xmlReader reads the documents of requests: elements, text, the five entities and character references. Anything
// that declares (a DTD, another encoding) is refused, so there are no entities to expand. Nesting is bounded
// by the callers, which refuse the elements that they do not know. Namespaces are not looked at.
type xmlReader struct {
	src *ctrlReader
	dec *xml.Decoder
}

// newXMLReader reads r; nil is an empty body.
func newXMLReader(r io.Reader) *xmlReader {
	if r == nil {
		r = strings.NewReader("")
	}
	src := &ctrlReader{src: bufio.NewReader(r), left: maxXML}
	return &xmlReader{src: src, dec: xml.NewDecoder(src)}
}

// document reads a whole document with the given root, whose children go to child. It is done only when the body is
// at its end, since a body is verified with its last byte. found is false for an empty body.
// An error of the body itself comes back as it is.
func (x *xmlReader) document(root string, child func(name string) error) (found bool, err error) {
	start, err := x.next()
	if err == nil && start == "" {
		return false, x.failure(nil)
	}
	if err == nil && start != root {
		err = errMalformedXML()
	}
	if err == nil {
		err = x.children(child)
	}
	if err == nil {
		var more string
		if more, err = x.next(); more != "" {
			err = errMalformedXML()
		}
	}
	return true, x.failure(err)
}

// failure is err, or the error of the body in its place.
func (x *xmlReader) failure(err error) error {
	if x.src.err != nil {
		return x.src.err
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return errMalformedXML()
}

// next returns the name of the next element outside of the root, or "" at the end of the document.
func (x *xmlReader) next() (string, error) {
	for {
		tok, err := x.dec.Token()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			return tok.Name.Local, nil
		case xml.CharData:
			if strings.Trim(string(tok), " \t\r\n\ufeff") != "" {
				return "", errMalformedXML()
			}
		case xml.EndElement, xml.Directive:
			return "", errMalformedXML()
		}
	}
}

// children reads to the end of the current element and hands every element in it to child, which must read it
// to its end. Text between elements must be white space.
func (x *xmlReader) children(child func(name string) error) error {
	for {
		tok, err := x.dec.Token()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			name := tok.Name.Local
			if err := child(name); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			if strings.Trim(string(tok), " \t\r\n") != "" {
				return errMalformedXML()
			}
		case xml.Directive:
			return errMalformedXML()
		}
	}
}

// text reads the current element to its end; only text may be in it.
func (x *xmlReader) text() (string, error) {
	var b strings.Builder
	for {
		tok, err := x.dec.Token()
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.CharData:
			b.Write(tok)
		case xml.EndElement:
			return restoreControls(b.String()), nil
		case xml.StartElement, xml.Directive:
			return "", errMalformedXML()
		}
	}
}

// word is text without the white space around it.
func (x *xmlReader) word() (string, error) {
	s, err := x.text()
	return strings.TrimSpace(s), err
}

func (x *xmlReader) boolean() (bool, error) {
	s, err := x.word()
	if err != nil {
		return false, err
	}
	switch strings.ToLower(s) {
	case "true", "1":
		return true, nil
	case "false", "0", "":
		return false, nil
	}
	return false, errMalformedXML()
}
