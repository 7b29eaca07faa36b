package s3api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

// TestConditions goes through RFC 9110 section 13.2.2 and the two combinations that S3 documents for GetObject.
func TestConditions(t *testing.T) {
	mod := time.Date(2024, 5, 6, 7, 8, 9, 987654321, time.UTC)
	same := mod.Truncate(time.Second) // what a client read in Last-Modified
	before, after := same.Add(-time.Second), same.Add(time.Second)
	yes, no, star := []string{"x", "e-2"}, []string{"x", "E-2"}, []string{"*"}
	tests := []struct {
		name       string
		cond       Conditions
		code, copy ErrorCode // "" for none
		failing    string    // Condition of a 412
	}{
		{name: "none"},
		{name: "If-Match holds", cond: Conditions{IfMatch: yes}},
		{name: "If-Match any", cond: Conditions{IfMatch: star}},
		{"If-Match fails", Conditions{IfMatch: no}, ErrPreconditionFailed, ErrPreconditionFailed, "If-Match"},
		{"If-Match weak", Conditions{IfMatch: []string{"W/e-2"}}, ErrPreconditionFailed, ErrPreconditionFailed, "If-Match"},
		{"If-None-Match fails", Conditions{IfNoneMatch: yes}, ErrNotModified, ErrPreconditionFailed, "If-None-Match"},
		{"If-None-Match any", Conditions{IfNoneMatch: star}, ErrNotModified, ErrPreconditionFailed, "If-None-Match"},
		{name: "If-None-Match holds", cond: Conditions{IfNoneMatch: no}},
		{name: "unmodified, same second", cond: Conditions{IfUnmodifiedSince: same}},
		{name: "unmodified, later", cond: Conditions{IfUnmodifiedSince: after}},
		{"unmodified, earlier", Conditions{IfUnmodifiedSince: before}, ErrPreconditionFailed, ErrPreconditionFailed, "If-Unmodified-Since"},
		{"modified, same second", Conditions{IfModifiedSince: same}, ErrNotModified, ErrPreconditionFailed, "If-Modified-Since"},
		{"modified, later", Conditions{IfModifiedSince: after}, ErrNotModified, ErrPreconditionFailed, "If-Modified-Since"},
		{name: "modified, earlier", cond: Conditions{IfModifiedSince: before}},
		{name: "If-Match holds, unmodified fails", cond: Conditions{IfMatch: yes, IfUnmodifiedSince: before}},
		{"If-Match fails, unmodified holds", Conditions{IfMatch: no, IfUnmodifiedSince: after}, ErrPreconditionFailed,
			ErrPreconditionFailed, "If-Match"},
		{"If-None-Match fails, modified holds", Conditions{IfNoneMatch: yes, IfModifiedSince: before}, ErrNotModified,
			ErrPreconditionFailed, "If-None-Match"},
		{name: "If-None-Match holds, modified fails", cond: Conditions{IfNoneMatch: no, IfModifiedSince: after}},
		{"412 before 304", Conditions{IfMatch: no, IfNoneMatch: yes}, ErrPreconditionFailed, ErrPreconditionFailed, "If-Match"},
		{"both match", Conditions{IfMatch: yes, IfNoneMatch: yes}, ErrNotModified, ErrPreconditionFailed, "If-None-Match"},
		{"all dates", Conditions{IfUnmodifiedSince: before, IfModifiedSince: after}, ErrPreconditionFailed,
			ErrPreconditionFailed, "If-Unmodified-Since"},
	}
	header := Header{{Name: "ETag", Value: `"e-2"`}, {Name: "Last-Modified", Value: "Mon, 06 May 2024 07:08:09 GMT"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err, copyErr := tt.cond.Check("e-2", mod), tt.cond.CheckCopy("e-2", mod)
			if tt.code == "" {
				if err != nil || copyErr != nil {
					t.Fatalf("Check %v, CheckCopy %v; want none", err, copyErr)
				}
				return
			}
			e := wantError(t, "Check", err, tt.code)
			if tt.code == ErrNotModified {
				if diff := cmp.Diff(header, e.Header); diff != "" {
					t.Errorf("header of the 304, -want +got:\n%s", diff)
				}
			} else if got := field(e, "Condition"); got != tt.failing {
				t.Errorf("condition %q, want %q", got, tt.failing)
			}
			e = wantError(t, "CheckCopy", copyErr, tt.copy)
			if got := field(e, "Condition"); got != "x-amz-copy-source-"+tt.failing {
				t.Errorf("copy condition %q, want %q", got, tt.failing)
			}
		})
	}
}
