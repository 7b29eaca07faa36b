package semantics

import (
	"cmp"
	"slices"
	"strings"

	"unistore/object"
	"unistore/upstream"
)

func cmpString(a, b string) int { return cmp.Compare(a, b) }

// Page builds one page of a listing from keys offered in ascending order. Its Next token is the last
// line of the page, a key or a common prefix, so tokens stay good whatever happens between pages.
type Page struct {
	prefix, delimiter string
	after             string // lines must be greater; as in ListRequest.StartAfter
	rolled            string // the last common prefix, or empty
	last              string // the last line
	max               int
	full              bool
	page              upstream.ListPage
}

// NewPage starts the page that req asks for.
func NewPage(req upstream.ListRequest) *Page {
	after := req.StartAfter
	if req.Token != "" {
		after = req.Token
	}
	return &Page{prefix: req.Prefix, delimiter: req.Delimiter, after: after, max: req.MaxKeys}
}

// After returns the line that the page starts after; it may be empty.
func (p *Page) After() string { return p.after }

// Full reports that the page is complete and no further key matters.
func (p *Page) Full() bool { return p.full }

// Skip reports that no key which begins with prefix and has not been offered can change the page.
func (p *Page) Skip(prefix string) bool {
	if p.full {
		return true
	}
	if !strings.HasPrefix(prefix, p.prefix) && !strings.HasPrefix(p.prefix, prefix) {
		return true
	}
	if prefix < p.after && !strings.HasPrefix(p.after, prefix) {
		return true // all its keys are below after
	}
	cp := p.common(prefix)
	return cp != "" && (cp == p.rolled || cp == p.after)
}

// Rolls reports that all keys which begin with prefix are one line of the page, the common prefix
// returned, and that any one of them stands for it: whichever exists, it is after the page's start.
func (p *Page) Rolls(prefix string) (string, bool) {
	if !strings.HasPrefix(prefix, p.prefix) || strings.HasPrefix(p.after, prefix) {
		return "", false
	}
	cp := p.common(prefix)
	return cp, cp != ""
}

// common returns the common prefix that key rolls up to, or "".
func (p *Page) common(key string) string {
	if p.delimiter == "" || !strings.HasPrefix(key, p.prefix) {
		return ""
	}
	i := strings.Index(key[len(p.prefix):], p.delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(p.prefix)+i+len(p.delimiter)]
}

// Wants reports whether key would be a line of its own: an object. When it rolls up into a common
// prefix, Wants adds that prefix; when the page has no room, it becomes Full.
func (p *Page) Wants(key string) bool {
	if p.full || key <= p.after || !strings.HasPrefix(key, p.prefix) {
		return false
	}
	if cp := p.common(key); cp != "" {
		p.AddPrefix(cp)
		return false
	}
	return p.room()
}

// AddPrefix adds the common prefix cp, once.
func (p *Page) AddPrefix(cp string) {
	if cp == p.rolled || cp == p.after || !p.room() {
		return
	}
	p.rolled, p.last = cp, cp
	p.page.Prefixes = append(p.page.Prefixes, cp)
}

// Add adds the object key, which Wants has asked for.
func (p *Page) Add(key string, attrs object.Attrs) {
	attrs.HeadersKnown = false
	attrs.Headers = object.Headers{}
	p.last = key
	p.page.Objects = append(p.page.Objects, upstream.ListedObject{Key: key, Attrs: attrs})
}

func (p *Page) room() bool {
	if len(p.page.Objects)+len(p.page.Prefixes) >= p.max {
		p.full = true
	}
	return !p.full
}

// Done returns the page.
func (p *Page) Done() upstream.ListPage {
	if p.full {
		p.page.Next = p.last
	}
	return p.page
}

// PageUploads returns the page of all that req asks for. It sorts all.
func PageUploads(req upstream.ListUploadsRequest, all []upstream.UploadInfo) upstream.UploadsPage {
	slices.SortFunc(all, func(a, b upstream.UploadInfo) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
	var page upstream.UploadsPage
	roll := Page{prefix: req.Prefix, delimiter: req.Delimiter}
	for _, u := range all {
		after := u.Key > req.KeyMarker ||
			(u.Key == req.KeyMarker && req.UploadIDMarker != "" && u.ID > req.UploadIDMarker)
		cp := roll.common(u.Key)
		if !after || !strings.HasPrefix(u.Key, req.Prefix) || (cp != "" && (cp == roll.rolled || cp == req.KeyMarker)) {
			continue
		}
		if len(page.Uploads)+len(page.Prefixes) >= req.MaxUploads {
			page.More = true
			return page
		}
		if cp != "" {
			roll.rolled = cp
			page.Prefixes = append(page.Prefixes, cp)
			page.NextKeyMarker, page.NextUploadIDMarker = cp, ""
			continue
		}
		page.Uploads = append(page.Uploads, u)
		page.NextKeyMarker, page.NextUploadIDMarker = u.Key, u.ID
	}
	page.NextKeyMarker, page.NextUploadIDMarker = "", ""
	return page
}
