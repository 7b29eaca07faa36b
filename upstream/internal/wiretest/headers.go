package wiretest

import (
	"strings"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/emulator"
)

func userHeaders(e *env) {
	wanted := object.Headers{
		ContentType: "a/b", CacheControl: "no-cache", Expires: "Thu, 01 Dec 2044 16:00:00 GMT",
		User: map[string]string{"content-type": "x", "expires": "never", "etag": "y", "cache-control": "z", "a_b.c": "1", "a--5f": "2", "empty": ""},
	}
	req := request("x")
	req.Headers = wanted.Clone()
	if _, err := e.b.Put(e.Context(), e.loc("k"), req); err != nil {
		e.Fatal(err)
	}
	e.wantHeaders("k", wanted)
}

func (e *env) wantHeaders(key string, wanted object.Headers) {
	e.Helper()
	attrs, err := e.b.Stat(e.Context(), e.loc(key), upstream.StatOptions{})
	if err != nil {
		e.Fatal(err)
	}
	st, err := e.b.Open(e.Context(), e.loc(key), upstream.OpenOptions{})
	if err != nil {
		e.Fatal(err)
	}
	_ = st.Body.Close()
	for what, got := range map[string]object.Headers{"Stat": attrs.Headers, "Open": st.Attrs.Headers} {
		if got.ContentType != wanted.ContentType || got.Expires != wanted.Expires || got.CacheControl != wanted.CacheControl ||
			got.ContentDisposition != wanted.ContentDisposition || len(got.User) != len(wanted.User) {
			e.Errorf("%s: %+v, want %+v", what, got, wanted)
		}
		for name, value := range wanted.User {
			if v, ok := got.User[name]; !ok || v != value {
				e.Errorf("%s: user header %q is %q, want %q", what, name, v, value)
			}
		}
	}
}

func noGuess(e *env) {
	for _, key := range []string{"page.html", "data.json", "x.txt"} {
		e.put(key, "x")
		up, part := e.upload("up/" + key)
		if _, err := e.b.(upstream.Multiparter).CompleteUpload(e.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}}); err != nil {
			e.Fatal(err)
		}
		for _, key := range []string{key, "up/" + key} {
			attrs, err := e.b.Stat(e.Context(), e.loc(key), upstream.StatOptions{})
			if err != nil || !strings.HasSuffix(attrs.Headers.ContentType, "/octet-stream") {
				e.Errorf("%s has content type %q, %v", key, attrs.Headers.ContentType, err)
			}
		}
	}
}

func asciiOnTheWire(e *env) {
	e.emu.SetInject(func(c emulator.Call) emulator.Fault {
		for name, values := range c.Header {
			for _, v := range values {
				if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
					e.Errorf("%s: %q", name, v)
				}
			}
		}
		return emulator.Fault{}
	})
	wanted := object.Headers{
		ContentType: "a/b", ContentDisposition: `attachment; filename="报告 ä.csv"`,
		User: map[string]string{"han": "世界", "latin": "Grüße", "spaces": "  x  ", "percent": "%E4%B8%96", "word": "=?UTF-8?B?eA==?="},
	}
	req := request("x")
	req.Headers = wanted.Clone()
	if _, err := e.b.Put(e.Context(), e.loc("世界"), req); err != nil {
		e.Fatal(err)
	}
	e.wantHeaders("世界", wanted)
	if _, err := e.b.(upstream.Copier).Copy(e.Context(), e.loc("copy"), upstream.CopyRequest{Source: e.loc("世界")}); err != nil {
		e.Fatal(err)
	}
	e.wantHeaders("copy", wanted)
}

func copySources(e *env) {
	c, m := e.b.(upstream.Copier), e.b.(upstream.Multiparter)
	for _, key := range []string{"a?b", "a?versionId=1", "a b", "a+b", "a%2Fb", "a&b=c", "世界/ä", "a#b", "q?x=1 +%?y"} {
		e.put(key, "of "+key)
		if _, err := c.Copy(e.Context(), e.loc("copied"), upstream.CopyRequest{Source: e.loc(key)}); err != nil {
			e.Errorf("Copy of %q: %v", key, err)
		}
		if got, err := e.read("copied", upstream.OpenOptions{}); got != "of "+key || err != nil {
			e.Errorf("the copy of %q is %q, %v", key, got, err)
		}
		up, _ := e.upload("parts")
		if _, err := c.CopyPart(e.Context(), up, 1, upstream.CopyPartRequest{Source: e.loc(key), Range: byterange.Closed(3, 3)}); err != nil {
			e.Errorf("CopyPart of %q: %v", key, err)
		}
		page, err := m.ListParts(e.Context(), up, 0, 10)
		if err != nil || len(page.Parts) != 1 || page.Parts[0].Size != 1 {
			e.Errorf("one byte of %q became %+v, %v", key, page.Parts, err)
		}
	}
}
