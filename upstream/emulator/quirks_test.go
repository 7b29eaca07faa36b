package emulator

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Each quirk changes what a client sees, and nothing is left of it when it is off.
func TestQuirks(t *testing.T) {
	const kib = 1 << 10
	tests := []struct {
		name    string
		dialect Dialect
		set     func(q *Quirks, on bool)
		check   func(c *client, on bool)
	}{
		{"contiguous parts", COS, func(q *Quirks, on bool) { q.ContiguousParts, q.MinPart = on, 1 }, func(c *client, on bool) {
			id, list := c.upload("/k", kib, -1, kib)
			got := c.do("POST", "/k?uploadId="+id, nil, list)
			c.wantIf(on, 400, "InvalidPart", got)
		}},
		{"forbid overwrite", COS, func(q *Quirks, on bool) { q.ForbidOverwrite = on }, func(c *client, on bool) {
			c.want(200, "", c.do("PUT", "/k", nil, "old"))
			forbid := header("x-cos-forbid-overwrite", "true")
			c.wantIf(on, 409, "FileAlreadyExists", c.do("PUT", "/k", forbid, "new"))
			c.want(200, "", c.do("PUT", "/other", forbid, "new"))
		}},
		{"versioned", OSS, func(q *Quirks, on bool) { q.Versioned = on }, func(c *client, on bool) {
			c.want(200, "", c.do("PUT", "/k", nil, "old"))
			c.wantIf(!on, 409, "FileAlreadyExists", c.do("PUT", "/k", header("x-oss-forbid-overwrite", "true"), "new"))
			c.is("versioning told", on, strings.Contains(c.do("GET", "/?bucketInfo", nil, "").body, "<Versioning>Enabled<"))
		}},
		{"CRC64", OSS, func(q *Quirks, on bool) { q.CRC64 = on }, func(c *client, on bool) {
			// CRC-64/XZ of "123456789", as published with the algorithm.
			c.want(200, "", c.do("PUT", "/k", nil, "123456789"))
			want := ""
			if on {
				want = "11051210869376104954"
			}
			if got := c.do("GET", "/k", header("Range", "bytes=0-1"), "").header.Get("x-oss-hash-crc64ecma"); got != want {
				c.t.Errorf("crc64ecma %q, want %q", got, want)
			}
		}},
		{"upper ETags", OSS, func(q *Quirks, on bool) { q.UpperETags = on }, func(c *client, on bool) {
			etag := c.do("PUT", "/k", nil, "x").header.Get("ETag")
			c.is("in upper case", on, etag == `"9DD4E461268C8034F5C8564E155C67A6"`)
			c.is("in lower case", !on, etag == `"9dd4e461268c8034f5c8564e155c67a6"`)
			c.is("listed", true, strings.Contains(c.do("GET", "/", nil, "").body, strings.Trim(etag, `"`)))
		}},
		{"opaque ETags", OBS, func(q *Quirks, on bool) { q.OpaqueETags, q.MinPart = on, 1 }, func(c *client, on bool) {
			id, list := c.upload("/k", 1, 1)
			body := c.want(200, "", c.do("POST", "/k?uploadId="+id, nil, list)).body
			c.is("MD5 of MD5s", !on, strings.Contains(body, "96e024ba2074fe77e8e965ba43a704be-2"))
		}},
		{"loose ranges", OSS, func(q *Quirks, on bool) { q.LooseRanges = on }, func(c *client, on bool) {
			c.want(200, "", c.do("PUT", "/k", nil, "0123456789"))
			standard := "x-oss-range-behavior"
			for spec, want := range map[string]string{"bytes=5-20": "56789", "bytes=0-3": "0123", "bytes=-3": "789", "bytes=-20": "0123456789"} {
				loose, strict := c.do("GET", "/k", header("Range", spec), ""), c.do("GET", "/k", header("Range", spec, standard, "standard"), "")
				if strict.status != 206 || strict.body != want {
					c.t.Errorf("%s, standard: %d %q", spec, strict.status, strict.body)
				}
				if outside := strings.Contains(spec, "20"); on && outside {
					c.is(spec+" gives all", true, loose.status == 200 && loose.body == "0123456789")
				} else {
					c.is(spec+" gives the range", true, loose.status == 206 && loose.body == want)
				}
			}
			c.wantIf(!on, 416, "InvalidRange", c.do("GET", "/k", header("Range", "bytes=10-"), ""))
			c.want(416, "InvalidRange", c.do("GET", "/k", header("Range", "bytes=10-", standard, "standard"), ""))
		}},
		{"V1 listing only", OSS, func(q *Quirks, on bool) { q.ListV1Only = on }, func(c *client, on bool) {
			body := c.do("GET", "/?list-type=2&max-keys=1", nil, "").body
			c.is("KeyCount", !on, strings.Contains(body, "<KeyCount>"))
		}},
		{"HEAD errors, OSS", OSS, func(q *Quirks, on bool) { q.HeadErrors = on }, func(c *client, on bool) {
			doc, _ := base64.StdEncoding.DecodeString(c.do("HEAD", "/k", nil, "").header.Get("x-oss-err"))
			c.is("told", on, strings.Contains(string(doc), "<Code>NoSuchKey<"))
		}},
		{"HEAD errors, OBS", OBS, func(q *Quirks, on bool) { q.HeadErrors = on }, func(c *client, on bool) {
			c.is("told", on, c.do("HEAD", "/k", nil, "").header.Get("x-obs-error-code") == "NoSuchKey")
		}},
		{"no path style", OSS, func(q *Quirks, on bool) { q.NoPathStyle = on }, func(c *client, on bool) {
			c.host = c.Addr
			c.wantIf(on, 403, "SecondLevelDomainForbidden", c.do("GET", "/"+bucketName0+"/", nil, ""))
		}},
		{"plus in listings", OBS, func(q *Quirks, on bool) { q.ListPlus = on }, func(c *client, on bool) {
			c.want(200, "", c.do("PUT", "/a%20b%2B%2Fc", nil, "x"))
			want := "a%20b%2B%2Fc"
			if on {
				want = "a+b%2B%2Fc"
			}
			c.is("key", true, strings.Contains(c.do("GET", "/?encoding-type=url", nil, "").body, "<Key>"+want+"<"))
		}},
		{"no chunked bodies", COS, func(q *Quirks, on bool) { q.NoChunkedParts, q.NoChunkedPuts = on, on }, func(c *client, on bool) {
			id, _ := c.upload("/k", 1)
			for _, target := range []string{"/k", "/k?partNumber=1&uploadId=" + id} {
				r := c.request("PUT", target, nil, struct{ *strings.Reader }{strings.NewReader("of unknown length")})
				sign(c.Emulator, r, testKey, testSecret)
				c.wantIf(on, 411, "MissingContentLength", c.send(r))
			}
		}},
		{"spaces before the result", COS, func(q *Quirks, on bool) {
			if q.CompleteSpaces = 0; on {
				q.CompleteSpaces = 20
			}
		}, func(c *client, on bool) {
			id, list := c.upload("/k", 10)
			got := c.want(200, "", c.do("POST", "/k?uploadId="+id, nil, list))
			c.is("spaces", on, strings.Contains(got.body, strings.Repeat(" ", 20)+"<CompleteMultipartUploadResult>"))
		}},
		{"least part", OSS, func(q *Quirks, on bool) {
			if q.MinPart = 1; on {
				q.MinPart = kib + 1
			}
		}, func(c *client, on bool) {
			id, list := c.upload("/k", kib, 1)
			c.wantIf(on, 400, "EntityTooSmall", c.do("POST", "/k?uploadId="+id, nil, list))
		}},
		{"most of a PUT", OBS, func(q *Quirks, on bool) {
			if q.MaxPut = kib; on {
				q.MaxPut = kib - 1
			}
		}, func(c *client, on bool) {
			c.wantIf(on, 400, "EntityTooLarge", c.do("PUT", "/k", nil, strings.Repeat("x", kib)))
		}},
		{"longest key", COS, func(q *Quirks, on bool) {
			if q.MaxKey = 100; on {
				q.MaxKey = 99
			}
		}, func(c *client, on bool) {
			c.wantIf(on, 400, "KeyTooLong", c.do("PUT", "/"+strings.Repeat("k", 100), nil, ""))
		}},
	}
	for _, tt := range tests {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, on), func(t *testing.T) {
				tt.check(newClient(t, tt.dialect, func(q *Quirks) { tt.set(q, on) }), on)
			})
		}
	}
}

// wantIf wants an error if on, else success.
func (c *client) wantIf(on bool, status int, code string, got reply) {
	c.t.Helper()
	if on {
		c.want(status, code, got)
	} else if got.err != nil || got.status >= 300 {
		c.t.Errorf("%d %s, %v; want success", got.status, got.body, got.err)
	}
}

func (c *client) is(what string, want, got bool) {
	c.t.Helper()
	if want != got {
		c.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestFaults(t *testing.T) {
	c := newClient(t, COS, nil)
	c.want(200, "", c.do("PUT", "/k", nil, "old"))
	inject := func(op Operation, f Fault) {
		c.SetInject(func(call Call) Fault {
			if call.Op == op {
				return f
			}
			return Fault{}
		})
	}
	content := func() string { c.SetInject(nil); return c.do("GET", "/k", nil, "").body }

	inject(PutObject, Fault{Status: 503, Code: "SlowDown"})
	if got := c.want(503, "SlowDown", c.do("PUT", "/k", nil, "new")); got.header.Get("Retry-After") != "1" || content() != "old" {
		t.Errorf("503: %v, %q", got.header, content())
	}
	inject(CopyObject, Fault{ErrorIn200: "InternalError"})
	source := header("x-cos-copy-source", bucketName0+"."+c.cfg.Domains[0]+"/k")
	if got := c.want(200, "InternalError", c.do("PUT", "/copy", source, "")); !strings.Contains(got.body, "<Error>") {
		t.Errorf("an error under 200: %s", got.body)
	}
	c.want(404, "NoSuchKey", c.do("GET", "/copy", nil, ""))

	inject(PutObject, Fault{CutBefore: true})
	if got := c.do("PUT", "/k", nil, "new"); got.err == nil || content() != "old" {
		t.Errorf("cut before: %+v, %q", got, content())
	}
	inject(PutObject, Fault{CutAfter: true})
	if got := c.do("PUT", "/k", nil, "new"); got.err == nil || content() != "new" {
		t.Errorf("cut after: %+v, %q", got, content())
	}
	inject(GetObject, Fault{CutBody: 2})
	if got := c.do("GET", "/k", nil, ""); got.err == nil || got.body != "ne" {
		t.Errorf("cut body: %+v", got)
	}
	inject(GetObject, Fault{Omit: []string{"ETag", "x-cos-hash-crc64ecma"}})
	if got := c.want(200, "", c.do("GET", "/k", nil, "")); got.header.Get("ETag") != "" || got.header.Get("X-Cos-Hash-Crc64ecma") != "" || got.body != "new" {
		t.Errorf("omitted: %v", got.header)
	}
	inject(GetObject, Fault{Delay: 30 * time.Millisecond})
	start := time.Now()
	if c.want(200, "", c.do("GET", "/k", nil, "")); time.Since(start) < 30*time.Millisecond {
		t.Error("no delay")
	}
	if n := c.Requests(PutObject); n != 4 {
		t.Errorf("%d PUTs counted, want 4", n)
	}
}

// What the emulator does not know it refuses, and never takes for something else.
func TestUnknownRequests(t *testing.T) {
	for _, d := range []Dialect{OSS, OBS, COS} {
		c := newClient(t, d, nil)
		c.want(200, "", c.do("PUT", "/k", nil, "x"))
		for _, sub := range []string{"tagging", "append", "versions", "policy", "restore", "acl"} {
			c.want(501, "NotImplemented", c.do("PUT", "/k?"+url.QueryEscape(sub), nil, "y"))
		}
		for _, method := range []string{http.MethodPatch, http.MethodOptions} {
			c.want(405, "MethodNotAllowed", c.do(method, "/k", nil, ""))
		}
		c.want(404, "NoSuchVersion", c.do("GET", "/k?versionId=7", nil, ""))
		c.want(400, "InvalidDigest", c.do("PUT", "/k", header("Content-MD5", "x"), "y"))
		wrong := "BadDigest"
		if d == OSS {
			wrong = "InvalidDigest"
		}
		c.want(400, wrong, c.do("PUT", "/k", header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="), "y"))
		c.want(400, "MissingArgument", c.do("POST", "/?delete", nil, "<Delete><Object><Key>k</Key></Object></Delete>"))
		if got := c.do("GET", "/k", nil, ""); got.body != "x" {
			t.Errorf("%s: the object is %q", d, got.body)
		}
	}
}
